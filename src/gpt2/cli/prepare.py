"""`gpt2 prepare`: text to token shards."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from gpt2.cli.parsing import UsageError, parse

STDLIB_DOCS = "stdlib-docs"


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """Write text as token shards, the seeded hold-out apart."""

    source: tyro.conf.Positional[tuple[str, ...]]
    """stdlib-docs, the text that ships with Python; or .txt files, or folders of them."""
    out: Path
    """Folder to write."""
    tokenizer: str = "gpt2"
    """gpt2, or a folder with vocab.json and merges.txt."""
    separator: str | None = None
    """Text between two documents of a file; without it a file is one document."""
    hold_out: float = 0.1
    """Share of the documents that is held out for evaluation."""
    seed: int = 0
    """Seed of the order of the documents, and so of which are held out."""

    def run(self) -> None:
        """Read the documents, hold some out, and write the shards."""
        from gpt2.data.prepare import hold_out, prepare
        from gpt2.data.sources import stdlib_docs, text_files
        from llm_tokenizer import Tokenizer

        if not self.source:
            raise UsageError(f"wanted a source: {STDLIB_DOCS}, or .txt files or folders")
        if self.source == (STDLIB_DOCS,):
            documents = stdlib_docs()
        else:
            # A shell passes "\n" on as a backslash and an n.
            separator = self.separator and self.separator.replace("\\n", "\n")
            documents = text_files([Path(path) for path in self.source], separator)
        gpt2 = self.tokenizer == "gpt2"
        tokenizer = Tokenizer.gpt2() if gpt2 else Tokenizer.load(self.tokenizer)
        train, val = hold_out(documents, self.hold_out, self.seed)
        manifest = prepare(train, val, tokenizer, self.out, source=" ".join(self.source))
        for split in ("train", "val"):
            shards = manifest.of(split)
            tokens = sum(shard.tokens for shard in shards)
            documents_written = sum(shard.documents for shard in shards)
            print(f"{split:6} {documents_written:,} documents, {tokens:,} tokens", file=sys.stderr)
        print(self.out)


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    parse(Prepare, args, verb="prepare").run()
