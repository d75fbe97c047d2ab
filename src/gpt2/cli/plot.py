"""`gpt2 plot`: pictures of a model or a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from gpt2.cli.model_flags import ModelName
from gpt2.cli.output_path import require_free
from gpt2.cli.parsing import parse_one_of
from gpt2.config.checks import check_seed
from gpt2.errors import DataError, InputError


@dataclass(frozen=True, kw_only=True)
class ImageFlags:
    """How the image is written."""

    force: bool = False
    """Replace the image that is there already."""

    def check_image(self, out: Path) -> None:
        """Make sure that an image may be written, before there is any work to do.

        Raises:
            InputError: Its name has no image's ending, or it is there already.
        """
        from gpt2.visual.figures import require_image

        require_image(out)
        require_free(out, force=self.force)


@dataclass(frozen=True, kw_only=True)
class Positions(ModelName, ImageFlags):
    """Position embeddings of four randomly chosen channels, over all positions."""

    out: Path = Path("positions.png")
    """Image to write."""
    seed: int = 0
    """Seed of the choice of channels."""

    def __post_init__(self) -> None:
        check_seed("seed", self.seed)

    def run(self) -> None:
        """Draw the figure and print its path."""
        self.check_image(self.out)
        from gpt2.visual.figures import draw_positions

        draw_positions(self.open_to_run().wpe.weight.detach(), self.out, seed=self.seed)
        print(self.out)


@dataclass(frozen=True, kw_only=True)
class Weights(ModelName, ImageFlags):
    """First 300 rows and columns of the first self-attention's weights."""

    out: Path = Path("weights.png")
    """Image to write."""

    def run(self) -> None:
        """Draw the figure and print its path."""
        self.check_image(self.out)
        from gpt2.visual.figures import draw_weights

        # Transposed: as the released files hold it, inputs by outputs.
        weights = self.open_to_run().block(0).attn.c_attn.weight.detach().t()
        draw_weights(weights, self.out, name="h.0.attn.c_attn.weight")
        print(self.out)


@dataclass(frozen=True, kw_only=True)
class Attention(ModelName, ImageFlags):
    """Where each token of a text looks, in one head."""

    text: str
    """Text to read."""
    block: int = 0
    """Block to show, from 0 on."""
    head: int = 0
    """Head to show, from 0 on."""
    out: Path = Path("attention.png")
    """Image to write."""

    def run(self) -> None:
        """Draw the figure and print its path."""
        self.check_image(self.out)
        from gpt2.visual.capture import attention_weights
        from gpt2.visual.figures import draw_attention

        if not self.text:
            raise InputError("--text must have at least one token, got an empty one")
        model = self.open_to_run()
        tokenizer = model.require_tokenizer()
        ids = tokenizer.encode(self.text, allowed_special="all")
        weights = attention_weights(model, ids, self.block, self.head)
        tokens = [tokenizer.decode([i]) for i in ids]
        title = f"Attention of block {self.block}, head {self.head}"
        draw_attention(weights, tokens, self.out, title=title)
        print(self.out)


@dataclass(frozen=True, kw_only=True)
class Loss(ImageFlags):
    """Training and held-out loss of a run."""

    run_directory: tyro.conf.Positional[Path]
    """A run directory."""
    out: Path = Path("loss.png")
    """Image to write."""

    def run(self) -> None:
        """Draw the figure and print its path."""
        self.check_image(self.out)
        from gpt2.train.metrics import read_metrics
        from gpt2.visual.figures import draw_loss

        if not (rows := read_metrics(self.run_directory)):
            raise DataError(f"{self.run_directory} holds no metrics.jsonl with rows to draw")
        draw_loss(rows, self.out)
        print(self.out)


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    kinds = {"positions": Positions, "weights": Weights, "attention": Attention, "loss": Loss}
    parse_one_of(kinds, args, verb="plot").run()
