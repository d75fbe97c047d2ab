"""`gpt2 gallery`: a model's pictures and a look inside it, as one HTML file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpt2.cli.model_flags import ModelName
from gpt2.cli.output_path import require_free
from gpt2.cli.parsing import parse
from gpt2.errors import InputError

MOST_TEXTS = 8


@dataclass(frozen=True, kw_only=True)
class Gallery(ModelName):
    """Write a page of a model: pictures, a look inside texts, and how training went. It is one HTML
    file, which opens in a browser without network."""

    out: Path = Path("gallery.html")
    """HTML file to write."""
    text: tuple[str, ...] = ()
    """Texts to look into: --text "One text" "Another"; two examples if not given."""
    force: bool = False
    """Replace the file that is there already."""

    def run(self) -> None:
        """Write the page and print its path."""
        if len(self.text) > MOST_TEXTS:
            raise InputError(f"--text takes up to {MOST_TEXTS} texts, got {len(self.text)}")
        require_free(self.out, force=self.force)
        from gpt2.files.names import locate
        from gpt2.files.run_directory import run_of
        from gpt2.progress import log
        from gpt2.train.page import training_of
        from gpt2.visual.gallery.page import write_gallery

        model = self.open("float32")
        directory = run_of(locate(self.model))
        run = None if directory is None else training_of(directory)
        write_gallery(model, self.out, name=self.model, texts=self.text, run=run)
        log(f"{self.out.stat().st_size / 1e6:.1f} MB; open it in a browser")
        print(self.out)


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    parse(Gallery, args, verb="gallery").run()
