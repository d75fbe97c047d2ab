"""`gpt2 export`: write a model for other programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gpt2.cli.model_flags import ModelName
from gpt2.cli.parsing import parse
from gpt2.config import Dtype
from gpt2.errors import CheckpointError


@dataclass(frozen=True, kw_only=True)
class Export(ModelName):
    """Write a model as a directory that transformers opens, or as a file that llama.cpp opens."""

    out: Path
    """Directory to write, or file with the format gguf; what is there already stays."""
    format: Literal["hugging-face", "gguf"] = "hugging-face"
    """gguf: needs the package gguf, which the extra of that name installs."""
    dtype: Dtype = "auto"
    """Of the weights; auto: as they are stored."""

    def run(self) -> None:
        """Write the model and print the path."""
        fresh = self.format == "hugging-face" and self.out.is_dir() and not any(self.out.iterdir())
        if (self.out.exists() or self.out.is_symlink()) and not fresh:
            raise CheckpointError(f"{self.out} is there already; choose another --out")
        model = self.open(self.dtype)
        if self.format == "gguf":
            from gpt2.files.gguf import write_gguf

            write_gguf(model, self.out)
        else:
            model.save_pretrained(self.out)
        print(self.out)


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    parse(Export, args, verb="export").run()
