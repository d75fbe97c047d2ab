"""`gpt2 prepare`: text to token shards."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from gpt2.cli.parsing import UsageError, parse
from gpt2.config import PrepareConfig
from gpt2.errors import DataError
from gpt2.progress import display, log

if TYPE_CHECKING:
    from gpt2.data.manifest import Manifest
    from gpt2.prepare.pipeline import Progress, Show
    from gpt2.prepare.sources import Source

ESCAPES = {"\\n": "\n", "\\r": "\r", "\\t": "\t"}


def _at_least_1(args: list[str]) -> int:
    [text] = args
    if not (text.isascii() and text.isdecimal() and int(text) >= 1):
        raise ValueError(f"workers must be a whole number, at least 1, got {text!r}")
    return int(text)


AT_LEAST_1 = tyro.constructors.PrimitiveConstructorSpec(
    nargs=1,
    metavar="INT",
    instance_from_str=_at_least_1,
    is_instance=lambda value: value is None or isinstance(value, int),
    str_from_instance=lambda value: [str(value)],
)


@dataclass(frozen=True, kw_only=True)
class Prepare(PrepareConfig):
    """Write text as token shards, the seeded hold-out apart; started again, it continues."""

    source: tyro.conf.Positional[tuple[str, ...]]
    """fineweb-edu; a data set on the Hugging Face hub, as owner/name; stdlib-docs, the text that
    ships with Python; tinyshakespeare; or files, folders and globs: .parquet, .jsonl, .json, .txt,
    the last three also as .gz or .zst, and files of any other name as .txt."""
    out: Path | None = None
    """Folder to write."""
    verify: Path | None = None
    """Check every file in a folder that was written before, and do nothing else."""
    subset: str | None = None
    """Of fineweb-edu: sample-10BT (if not set), sample-100BT, sample-350BT, a crawl such as
    CC-MAIN-2024-10, or default, which is all; of another data set: a folder or glob in it."""
    revision: str | None = None
    """Branch, tag or commit on the hub; main if not set."""
    tokenizer: str = "gpt2"
    """gpt2, or a folder with vocab.json and merges.txt."""
    workers: Annotated[int | None, AT_LEAST_1] = None
    """Threads that read and tokenize; one a processor if not set. They do not change the shards."""
    force: bool = False
    """Start over: remove what was prepared in the folder before."""

    def run(self) -> None:
        """Check a folder, or read the documents, hold some out, and write the shards."""
        if self.verify:
            return _verify(self.verify)
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

        from gpt2.prepare import sources
        from gpt2.prepare.output_folder import check_usable, previous_source
        from gpt2.prepare.pipeline import prepare
        from llm_tokenizer import Tokenizer

        if not self.source or self.out is None:
            raise UsageError(
                "wanted a source, such as fineweb-edu, stdlib-docs or files, and --out DIR"
            )
        check_usable(self.out)
        self._check_outside_source(self.out)
        if len(self.source) == 1 and self.source[0] in sources.BUNDLED:
            _mention_shadowed(self.source[0])
        disable_progress_bars()  # of downloads: they would cross ours
        with ThreadPoolExecutor(1) as thread:  # checksums of files, while the vocabulary is read
            finding = thread.submit(
                sources.find,
                self.source,
                subset=self.subset,
                revision=self.revision,
                before=None if self.force else previous_source(self.out),
            )
            gpt2 = self.tokenizer == "gpt2"
            tokenizer = Tokenizer.gpt2() if gpt2 else Tokenizer.load(self.tokenizer)
            source = finding.result()
        _print_left_out(source)
        with _display() as show:
            manifest = prepare(
                source,
                tokenizer,
                self.out,
                self._config(),
                workers=self.workers or _processors(),
                force=self.force,
                show=show,
            )
        _print_summary(manifest)
        print(self.out)

    def _check_outside_source(self, out: Path) -> None:
        for folder in map(Path, self.source):
            if folder.is_dir() and out.resolve().is_relative_to(folder.resolve()):
                raise UsageError(f"--out must lie outside the source {folder}, got {out}")

    def _config(self) -> PrepareConfig:
        separator = self.separator
        for escape, character in ESCAPES.items():  # a shell passes a backslash and a letter on
            separator = separator and separator.replace(escape, character)
        config = PrepareConfig(**{f.name: getattr(self, f.name) for f in fields(PrepareConfig)})
        return replace(config, separator=separator)


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    try:
        parse(Prepare, args, verb="prepare").run()
    except KeyboardInterrupt:
        log("stopped; the same command without --force continues from here")
        os._exit(130)  # at once: a thread may be in a download, and what was committed is safe


def _verify(directory: Path) -> None:
    from gpt2.data.verification import find_faults

    if faults := find_faults(directory):
        raise DataError(f"{directory} is damaged: {'; '.join(faults)}")
    print(f"{directory} is complete and as it was written")


def _mention_shadowed(name: str) -> None:
    """Print on stderr how to name a local file or folder that has the name of a bundled source."""
    if Path(name).exists():
        log(
            f"{name} is the bundled source; for the folder or file here write ./{name}",
        )


def _print_left_out(source: "Source") -> None:
    """Print on stderr how many files of the folders are of kinds that are not read."""
    if not (names := source.left_out):
        return
    if len(names) == 1:
        log(f"1 file of another kind is left out: {names[0]}")
    else:
        number = f"{len(names):,} files of other kinds are left out"
        log(f"{number}, such as {names[0]}")


def _print_summary(manifest: "Manifest") -> None:
    """Print on stderr what a folder holds, and which rows of the source it does not."""
    for split in ("train", "val"):
        shards = manifest.of(split)
        documents, tokens = (sum(getattr(s, of) for s in shards) for of in ("documents", "tokens"))
        log(f"{split:6} {documents:,} documents, {tokens:,} tokens")
    if manifest.skipped:
        rows = ", ".join(f"{count:,} {kind}" for kind, count in manifest.skipped.items())
        log(f"skipped rows: {rows}")
    settings = manifest.settings
    if not manifest.shards:
        log(
            f"part {manifest.part} is empty: a file is not divided, only parquet is, by row "
            "groups; to train, keep it beside the other parts, or make fewer parts",
        )
    elif not manifest.of("val") and settings["hold_out"] and settings["val_tokens"] != 0:
        log(
            "nothing is held out, as there is one document only; training needs some, so cut the "
            'text into documents with --separator, such as --separator "\\n\\n"',
        )


def _processors() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # those that this process may use, on Linux
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@contextmanager
def _display() -> "Iterator[Show]":
    """Show progress on stderr."""
    with display(total=1.0, label="{:.0%}".format) as shown:
        yield lambda progress: shown.update(progress.done, _describe(progress), progress.seconds)


def _describe(progress: "Progress") -> str:
    pace = progress.text_bytes / 1e6 / max(progress.seconds, 1e-9)
    return f"{progress.documents:,} documents  {progress.tokens:,} tokens  {pace:.0f} MB/s"
