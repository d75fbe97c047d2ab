"""`gpt2 export`: write a model for other programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gpt2.cli.model_flags import ModelName
from gpt2.cli.output_path import already_there, require_free
from gpt2.cli.parsing import parse
from gpt2.config import SETTINGS_FILE, Dtype
from gpt2.errors import InputError

if TYPE_CHECKING:
    from gpt2.files.pretrained import GPT2
    from gpt2.model.quantized import Bits

BITS: "dict[str, Bits]" = {"int8": 8, "int4": 4}  # of the formats that quantize


@dataclass(frozen=True, kw_only=True)
class Export(ModelName):
    """Write a model as a directory that transformers opens, as a file that llama.cpp opens, or
    quantized, as a directory that this program opens: about a quarter (int8) or a fifth (int4) of
    the size of float32."""

    out: Path
    """Directory to write, or file with the format gguf."""
    format: Literal["hugging-face", "gguf", "int8", "int4"] = "hugging-face"
    """gguf: needs the package gguf, which the extra of that name installs. int8, int4: weights of
    as many bits; with int4 the token embeddings, which are the head, too, have 8."""
    dtype: Dtype = "auto"
    """Of float weights; auto: as they are stored."""
    force: bool = False
    """Replace the file, or the model in the directory, that is there already."""

    def run(self) -> None:
        """Write the model and print the path."""
        if self.format in BITS and self.dtype != "auto":
            raise InputError(
                f"--format {self.format} says what the weights become; leave out --dtype, "
                f"got {self.dtype}"
            )
        if self.format == "gguf":
            require_free(self.out, force=self.force)
            from gpt2.files.gguf import write_gguf

            write_gguf(self.open(self.dtype), self.out)
        else:
            self._require_free_directory()
            self._open_as_written().save_pretrained(self.out)
        print(self.out)

    def _open_as_written(self) -> "GPT2":
        """Open the model, and quantize it if the format asks for that."""
        from gpt2.model.quantized import quantize_network

        model = self.open(self.dtype)
        if model.quantization:
            raise InputError(
                f"{self.model} is quantized to {model.quantization} already; copy its directory, "
                "or export the model that it was made from"
            )
        if self.format in BITS:
            quantize_network(model, BITS[self.format])
        return model

    def _require_free_directory(self) -> None:
        from gpt2.files.run_directory import CHECKPOINTS, STATE_FILE
        from llm_tokenizer.atomic import PARTIAL

        if not self.out.is_dir():
            if self.out.exists() or self.out.is_symlink():
                raise InputError(
                    f"{self.out} is there already; choose another --out, this one is no directory"
                )
            return
        names = {path.name for path in self.out.iterdir()} - {PARTIAL}
        if names & {SETTINGS_FILE, CHECKPOINTS, STATE_FILE}:
            raise InputError(f"{self.out} belongs to a run; choose another --out")
        if names and not self.force:
            raise already_there(self.out)


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    parse(Export, args, verb="export").run()
