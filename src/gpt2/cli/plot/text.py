"""`gpt2 plot attention | tokens | next | lens | flow`: pictures of what a model makes of a text."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpt2.cli.plot.flags import ModelPicture

if TYPE_CHECKING:
    from gpt2.files.pretrained import GPT2
    from gpt2.visual.capture import Recording


@dataclass(frozen=True, kw_only=True)
class TextPicture(ModelPicture):
    """A picture of a text that a model reads."""

    text: str
    """Text to read: at most as many tokens as the model's context."""

    def read(self, *, last: int | None = None) -> "tuple[GPT2, Recording]":
        """Open the model and record what it computes for the text.

        Args:
            last: How many tokens, the last of the text, to compute logits of; all if not given.
        Raises:
            Gpt2Error: There is no such model, or the text does not fit into its context.
        """
        from gpt2.visual.capture import record
        from gpt2.visual.token_texts import token_ids

        model = self.open_for_pictures()
        return model, record(model, token_ids(model, self.text), last=last)


@dataclass(frozen=True, kw_only=True)
class Attention(TextPicture):
    """Where each token of a text looks: one head, the heads of a block, or all heads."""

    block: int | None = None
    """Block to show, from 0 on; all if not given."""
    head: int | None = None
    """Head to show, from 0 on; all if not given."""

    def run(self) -> None:
        """Draw the figure and print its path."""
        path = self.image("attention")
        from gpt2.visual.pictures.attention import attention_maps

        model, recording = self.read(last=1)
        self.write(attention_maps(model, recording, self.block, self.head), path)


@dataclass(frozen=True, kw_only=True)
class Tokens(TextPicture):
    """The tokens of a text with their ids, colored by how much each surprises the model."""

    tokenizer: str | None = None
    """gpt2, or a tokenizer's directory or file: show its tokens, without a model."""

    def run(self) -> None:
        """Draw the figure and print its path."""
        path = self.image("tokens")
        from gpt2.visual.pictures.tokens import surprisals, tokens_of
        from llm_tokenizer import Tokenizer

        if self.tokenizer is None:
            picture = surprisals(*self.read())
        elif self.tokenizer == "gpt2":
            picture = tokens_of(Tokenizer.gpt2(), self.text)
        else:
            picture = tokens_of(Tokenizer.load(self.tokenizer), self.text)
        self.write(picture, path)


@dataclass(frozen=True, kw_only=True)
class Next(TextPicture):
    """The likeliest next tokens after a text, and their probabilities."""

    top: int = 10
    """How many tokens to show."""

    def run(self) -> None:
        """Draw the figure and print its path."""
        path = self.image("next")
        from gpt2.visual.pictures.next_tokens import next_tokens

        self.write(next_tokens(*self.read(), self.top), path)


@dataclass(frozen=True, kw_only=True)
class Lens(TextPicture):
    """What the model would predict after each of its blocks: the logit lens."""

    def run(self) -> None:
        """Draw the figure and print its path."""
        path = self.image("lens")
        from gpt2.visual.pictures.lens import lens

        self.write(lens(*self.read(last=1)), path)


@dataclass(frozen=True, kw_only=True)
class Flow(TextPicture):
    """What each block's attention and MLP add to the logit of the next token."""

    token: str | None = None
    """The next token, with its space if it has one; the likeliest if not given."""

    def run(self) -> None:
        """Draw the figure and print its path."""
        path = self.image("flow")
        from gpt2.visual.pictures.flow import flow

        self.write(flow(*self.read(), self.token), path)
