"""What does a page know of a model before it looks inside, and in which colors does it draw?"""

from typing import Any

from gpt2.files.pretrained import GPT2
from gpt2.visual import style
from gpt2.visual.token_texts import token_texts

COLOR_MAPS = {
    "weights": style.WEIGHTS,
    "attention": style.ATTENTION,
    "surprisal": style.SURPRISAL,
    "probability": style.PROBABILITY,
    "signed": style.SIGNED,
}
# Lengths of strokes and gaps, in widths of the line, by matplotlib's name.
STROKES = {"-": (), "--": (3.7, 1.6), "-.": (6.4, 1.6, 1, 1.6), ":": (1, 1.65)}


def model_facts(model: GPT2, name: str) -> dict[str, Any]:
    """Return the sizes of a model, with its name."""
    sizes = ("n_layer", "n_head", "n_embd", "n_positions", "vocab_size")
    known = {size: getattr(model.config, size) for size in sizes}
    return {"name": name, **known, "parameters": model.num_parameters()}


def page_colors() -> dict[str, Any]:
    """Return the colors of the pictures, by kind of data."""
    maps = {kind: style.colors_of(name) for kind, name in COLOR_MAPS.items()}
    dashes = [STROKES[dash] if isinstance(dash, str) else dash[1] for dash in style.DASHES]
    return {**maps, "series": style.SERIES, "dashes": dashes}


def vocabulary(model: GPT2) -> list[str | None]:
    """Return the text of each id, None where it has none."""
    unused = set(model.unused_ids)
    texts = token_texts(model.require_tokenizer(), range(model.config.vocab_size))
    return [None if i in unused else text for i, text in enumerate(texts)]
