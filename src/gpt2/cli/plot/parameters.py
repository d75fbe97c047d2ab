"""`gpt2 plot positions | weights | embeddings`: pictures of a model's weights."""

from dataclasses import dataclass

from gpt2.cli.plot.flags import ModelPicture
from gpt2.config.checks import check_seed


@dataclass(frozen=True, kw_only=True)
class Positions(ModelPicture):
    """Position embeddings of four randomly chosen channels, over all positions."""

    channels: tuple[int, ...] | None = None
    """Channels to draw, from 0 on, with commas or spaces between, instead of chosen ones."""
    seed: int = 0
    """Seed of the choice of channels."""

    def __post_init__(self) -> None:
        check_seed("seed", self.seed)

    def run(self) -> None:
        """Draw the figure and print its path."""
        path = self.image("positions")
        from gpt2.visual.pictures.positions import position_curves

        model = self.open_for_pictures()
        self.write(position_curves(model, self.channels, seed=self.seed), path)
