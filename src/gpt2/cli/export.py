"""`gpt2 export`: write a model for other programs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from gpt2.cli.model_flags import ModelName
from gpt2.cli.output_path import already_there, require_free
from gpt2.cli.parsing import parse
from gpt2.config import SETTINGS_FILE, Dtype
from gpt2.errors import CheckpointError, ConfigError, InputError
from gpt2.progress import log

if TYPE_CHECKING:
    from gpt2.files.pretrained import GPT2
    from gpt2.model.quantized import Bits
    from gpt2.train.card_facts import CardFacts

BITS: "dict[str, Bits]" = {"int8": 8, "int4": 4}  # of the formats that quantize


@dataclass(frozen=True, kw_only=True)
class Export(ModelName):
    """Write a model as a directory that transformers opens, as a file that llama.cpp opens, or
    quantized, as a directory that this program opens: about a quarter (int8) or a fifth (int4) of
    the size of float32. A run's model gets a card, README.md."""

    out: Path | None = None
    """Directory to write, or file with the format gguf."""
    push_to_hub: str | None = None
    """Repository on the Hugging Face hub, owner/name, to push the directory to; with --out, too, it
    is what lies there then. The token is that of hf auth login, or HF_TOKEN."""
    private: bool = False
    """Make a new repository private."""
    license: str | None = None
    """License of the weights for the card, as the hub names it: mit, apache-2.0, other."""
    format: Literal["hugging-face", "gguf", "int8", "int4"] = "hugging-face"
    """gguf: needs the package gguf, which the extra of that name installs. int8, int4: weights of
    as many bits; with int4 the token embeddings, which are the head, too, have 8."""
    dtype: Dtype = "auto"
    """Of float weights; auto: as they are stored."""
    force: bool = False
    """Replace the file, or the model in the directory or repository, that is there already."""

    def __post_init__(self) -> None:
        if self.out is None and self.push_to_hub is None:
            raise ConfigError("the options --out or --push-to-hub are required")
        if self.private and self.push_to_hub is None:
            raise ConfigError("--private is of --push-to-hub")
        if self.format == "gguf" and (self.push_to_hub or self.license):
            raise ConfigError(
                "--push-to-hub and --license are of directories; push a GGUF file with: "
                "hf upload OWNER/NAME FILE"
            )

    def run(self) -> None:
        """Write the model, push it if that is asked for, and print where it is."""
        if self.format in BITS and self.dtype != "auto":
            raise InputError(
                f"--format {self.format} says what the weights become; leave out --dtype, "
                f"got {self.dtype}"
            )
        if self.format == "gguf":
            assert self.out is not None
            require_free(self.out, force=self.force)
            from gpt2.files.gguf import write_gguf

            write_gguf(self.open(self.dtype), self.out)
            print(self.out)
        else:
            self._write_directory()

    def _write_directory(self) -> None:
        from gpt2.files.names import locate
        from gpt2.files.pretrained import MODEL_FILES
        from gpt2.files.tensors import FORMS
        from gpt2.hub import check_push, make_repository, push

        if self.out is not None:
            _require_free_directory(self.out, force=self.force)
        if self.push_to_hub is not None:
            check_push(self.push_to_hub)
        # A run may save another checkpoint meanwhile: weights and card are of the same one.
        checkpoint = locate(self.model).absolute()
        model = self._open_as_written(checkpoint)
        card = self._card(model, checkpoint)
        if self.push_to_hub is not None:
            make_repository(self.push_to_hub, private=self.private, replace=self.force)
        with self._directory() as directory:
            model.save_pretrained(directory, beside=card)
            if self.out is not None:
                print(self.out)
            if self.push_to_hub is not None:
                names = [*(n for n in MODEL_FILES if (directory / n).exists()), *card]
                # Weights and tokenizers of another model, which a program may prefer.
                print(push(self.push_to_hub, directory, names, stale=[*MODEL_FILES, *FORMS]))

    @contextmanager
    def _directory(self) -> Iterator[Path]:
        """Yield the directory to write into: --out, or one that is gone after the push."""
        if self.out is not None:
            yield self.out
            return
        with TemporaryDirectory(prefix="gpt2-export-") as folder:
            yield Path(folder) / "model"

    def _open_as_written(self, directory: Path) -> "GPT2":
        """Open the model, and quantize it if the format asks for that."""
        from gpt2.model.quantized import quantize_network

        model = replace(self, model=str(directory)).open(self.dtype)
        if model.quantization:
            raise InputError(
                f"{self.model} is quantized to {model.quantization} already; copy its directory, "
                "or export the model that it was made from"
            )
        if self.format in BITS:
            quantize_network(model, BITS[self.format])
        return model

    def _card(self, model: "GPT2", directory: Path) -> dict[str, bytes]:
        """Return the files of the model's card, by their names; none if there is nothing to say.

        A directory that is no checkpoint keeps the card that it has, if its weights stay.
        """
        from gpt2.files.names import hub_name, is_local
        from gpt2.train.model_card import CARD_FILE, Card

        stays = self.format == "hugging-face" and self.dtype == "auto" and self.license is None
        if stays and is_local(self.model) and (directory / CARD_FILE).is_file():
            return _kept_card(directory, self.push_to_hub)
        facts = _facts(directory)
        # A card that an export has left in the directory is of another model.
        replaces = self.out is not None and _is_card(self.out / CARD_FILE)
        if facts is None and self.push_to_hub is None and self.license is None and not replaces:
            return {}
        name = self.push_to_hub or (self.out or Path()).resolve().name
        base = None if is_local(self.model) else hub_name(self.model)
        return Card(name=name, model=model, facts=facts, base=base, license=self.license).files()


def _is_card(file: Path) -> bool:
    """Return whether a file is a card that an export has written, and no text of somebody."""
    from gpt2.train.model_card import SIGNATURE

    return file.is_file() and SIGNATURE.encode() in file.read_bytes()


def _kept_card(directory: Path, repository: str | None) -> dict[str, bytes]:
    """Return the card of a directory. In a repository, its code opens the model by that name."""
    from gpt2.train.model_card import CARD_FILE, PICTURE_FILE, opened_as

    files = (directory / CARD_FILE, directory / PICTURE_FILE)
    card = {file.name: file.read_bytes() for file in files if file.is_file()}
    if repository is not None:
        here, there = opened_as(directory.name).encode(), opened_as(repository).encode()
        card[CARD_FILE] = card[CARD_FILE].replace(here, there)
    return card


def _facts(directory: Path) -> "CardFacts | None":
    """Return what is known of a model's training; None if it is no run's, or its files are bad."""
    from gpt2.files.run_directory import run_of
    from gpt2.train.card_facts import read_card_facts

    if run_of(directory) is None:
        return None
    try:
        return read_card_facts(directory)
    except (CheckpointError, ConfigError, OSError) as error:
        log(f"the card says nothing of the training: {error}")
        return None


def _require_free_directory(out: Path, *, force: bool) -> None:
    from gpt2.files.run_directory import CHECKPOINTS, STATE_FILE
    from llm_tokenizer.atomic import PARTIAL

    if not out.is_dir():
        if out.exists() or out.is_symlink():
            raise InputError(
                f"{out} is there already; choose another --out, this one is no directory"
            )
        return
    names = {path.name for path in out.iterdir()} - {PARTIAL}
    if names & {SETTINGS_FILE, CHECKPOINTS, STATE_FILE}:
        raise InputError(f"{out} belongs to a run; choose another --out")
    if names and not force:
        raise already_there(out)


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    parse(Export, args, verb="export").run()
