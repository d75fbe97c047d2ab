"""`gpt2 export`: write a model for other programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gpt2.cli.model_flags import open_model
from gpt2.cli.parsing import parse
from gpt2.config import WeightDtype
from gpt2.errors import CheckpointError


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a model as a directory that transformers opens, or as a file that llama.cpp opens."""

    out: Path
    """Directory to write, or file with the format gguf; what is there already stays."""
    model: str = "gpt2"
    """A model directory, a run directory, or a name on the Hugging Face hub."""
    format: Literal["hugging-face", "gguf"] = "hugging-face"
    """gguf: needs the package gguf, which the extra of that name installs."""
    dtype: WeightDtype = "auto"
    """Of the weights; auto: as they are stored."""

    def run(self) -> None:
        """Write the model and print the path."""
        fresh = self.format == "hugging-face" and self.out.is_dir() and not any(self.out.iterdir())
        if (self.out.exists() or self.out.is_symlink()) and not fresh:
            raise CheckpointError(f"{self.out} is there already; choose another --out")
        model = open_model(self.model, self.dtype)
        if self.format == "gguf":
            from gpt2.gguf_file import write_gguf

            write_gguf(model, self.out)
        else:
            model.save_pretrained(self.out)
        print(self.out)


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    parse(Export, args, verb="export").run()
