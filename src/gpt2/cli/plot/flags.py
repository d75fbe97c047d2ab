"""The flags that all pictures share, and how a picture is written."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpt2.cli.model_flags import ModelName
from gpt2.cli.output_path import require_free

if TYPE_CHECKING:
    from gpt2.files.pretrained import GPT2
    from gpt2.visual.pictures.picture import Picture


@dataclass(frozen=True, kw_only=True)
class ImageFlags:
    """How a picture is written."""

    out: Path | None = None
    """Image to write, .png or .svg among others; the picture's name with .png if not given."""
    force: bool = False
    """Replace the image that is there already."""
    json: bool = False
    """Print the numbers as one JSON object, and write an image only where --out is given."""

    def image(self, name: str) -> Path | None:
        """Return the image to write, None if none, before there is any work to do.

        Args:
            name: That of the picture.
        Raises:
            InputError: Its name has no image's ending, or it is there already.
        """
        from gpt2.visual.images import require_image

        if self.out is None and self.json:
            return None
        path = self.out or Path(f"{name}.png")
        require_image(path)
        require_free(path, force=self.force)
        return path

    def write(self, picture: "Picture", path: Path | None) -> None:
        """Write a picture as an image and print its path, or print its numbers.

        Args:
            picture: What to draw.
            path: The image, None to write none.
        """
        from gpt2.visual.images import write_image

        if path is not None:
            write_image(picture.figure(), path)
        if self.json:
            print(json.dumps(picture.to_json(), allow_nan=False))
        else:
            print(path)


@dataclass(frozen=True, kw_only=True)
class ModelPicture(ModelName, ImageFlags):
    """A picture of a model."""

    def open_for_pictures(self) -> "GPT2":
        """Open the model in float32, on the CPU: pictures show true numbers."""
        return self.open("float32")
