"""`gpt2 plot positions | weights | embeddings | norms`: pictures of a model's weights."""

import json
from dataclasses import dataclass

from gpt2.cli.plot.flags import ModelPicture
from gpt2.config.checks import check, check_seed
from gpt2.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Positions(ModelPicture):
    """Position embeddings of four randomly chosen channels, over all positions."""

    channels: tuple[int, ...] | None = None
    """Channels to draw, from 0 on, with commas or spaces between, instead of chosen ones."""
    seed: int = 0
    """Seed of the choice of channels."""
    similarity: bool = False
    """Draw how alike all positions are instead: the cosine of their embeddings, as a map."""

    def __post_init__(self) -> None:
        check_seed("seed", self.seed)
        both = self.similarity and self.channels is not None
        check(not both, "--similarity compares all channels; leave --channels out", self.channels)

    def run(self) -> None:
        """Draw the figure and print its path."""
        path = self.image("position-similarity" if self.similarity else "positions")
        from gpt2.visual.pictures.position_similarity import position_similarity
        from gpt2.visual.pictures.positions import position_curves

        model = self.open_for_pictures()
        if self.similarity:
            self.write(position_similarity(model), path)
        else:
            self.write(position_curves(model, self.channels, seed=self.seed), path)


@dataclass(frozen=True, kw_only=True)
class Weights(ModelPicture):
    """A weight matrix as an image: first 300 rows and columns of the first c_attn, or others."""

    tensor: str | None = None
    """Name of a tensor in the released files, such as wte or h.3.mlp.c_fc.weight; that of the first
    self-attention's queries, keys and values if not given. The matrices of a block are inputs x
    outputs there."""
    block: int | None = None
    """Block whose c_attn to draw, from 0 on, instead of --tensor."""
    head: int | None = None
    """Draw the columns of this head alone, from 0 on: its queries, keys and values."""
    rows: str | None = None
    """START:STOP, such as 100:200, or : for all; 0:300 if not given. A window of more than 600 is
    drawn in means of several weights."""
    columns: str | None = None
    """As rows; of a head all if not given."""
    histogram: bool = False
    """Count all weights of the tensor, beside the image."""
    singular_values: bool = False
    """Draw the singular values of the whole matrix, beside the image."""
    list: bool = False
    """Print the names and shapes of all tensors of the model, and draw nothing."""

    def __post_init__(self) -> None:
        both = self.tensor is not None and self.block is not None
        check(not both, "--tensor names a block already; leave --block out", self.block)

    def run(self) -> None:
        """Draw the figure and print its path."""
        if self.list:
            self._list()
            return
        path = self.image("weights")
        from gpt2.visual.pictures.weights import weights_window
        from gpt2.visual.window import parse_window

        rows = None if self.rows is None else parse_window("--rows", self.rows)
        columns = None if self.columns is None else parse_window("--columns", self.columns)
        model = self.open_for_pictures()
        if self.block is not None and not 0 <= self.block < len(model.h):
            raise InputError(
                f"block must be 0 to {len(model.h) - 1} in this model, got {self.block}"
            )
        c_attn = f"h.{self.block or 0}.attn.c_attn.weight"
        picture = weights_window(
            model,
            c_attn if self.tensor is None else self.tensor,
            head=self.head,
            rows=rows,
            columns=columns,
            with_histogram=self.histogram,
            with_singular_values=self.singular_values,
        )
        self.write(picture, path)

    def _list(self) -> None:
        from gpt2.visual.named_tensors import tensor_shapes
        from gpt2.visual.window import shown_shape

        shapes = tensor_shapes(self.open_for_pictures())
        if self.json:
            print(json.dumps(shapes))
            return
        width = max(map(len, shapes))
        for name, shape in shapes.items():
            print(f"{name:{width}}  {shown_shape(shape)}")


@dataclass(frozen=True, kw_only=True)
class Embeddings(ModelPicture):
    """Tokens that are alike lie near each other: embeddings in two principal components."""

    tokens: str | None = None
    """Tokens to draw, with commas between; a space before one is part of it: " cat, dog". Some
    common words if not given."""
    text: str | None = None
    """Draw the tokens of this text instead, each once."""

    def __post_init__(self) -> None:
        both = self.tokens is not None and self.text is not None
        check(not both, "--tokens and --text both name tokens; leave one out", self.text)

    def run(self) -> None:
        """Draw the figure and print its path."""
        path = self.image("embeddings")
        from gpt2.visual.pictures.embeddings import embedding_map, listed_tokens

        model = self.open_for_pictures()
        tokenizer = model.require_tokenizer()
        groups = None
        if self.tokens is not None:
            groups = {"tokens": listed_tokens(tokenizer, self.tokens)}
        elif self.text is not None:
            groups = {"tokens": tokenizer.encode(self.text, allowed_special="all")}
        self.write(embedding_map(model, groups), path)


@dataclass(frozen=True, kw_only=True)
class Norms(ModelPicture):
    """How the residual stream grows through the blocks, over the tokens of a text."""

    text: str
    """Text to read."""

    def run(self) -> None:
        """Draw the figure and print its path."""
        path = self.image("norms")
        from gpt2.visual.capture import record
        from gpt2.visual.pictures.norms import stream_norms
        from gpt2.visual.token_texts import token_ids

        model = self.open_for_pictures()
        self.write(stream_norms(record(model, token_ids(model, self.text), last=1)), path)
