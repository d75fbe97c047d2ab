"""What does a page know of a model before it looks inside?"""

from typing import Any

from gpt2.config import SIZES
from gpt2.files.pretrained import GPT2
from gpt2.visual.token_texts import token_texts


def model_facts(model: GPT2, name: str) -> dict[str, Any]:
    """Return the sizes of a model, with its name."""
    known = {size: getattr(model.config, size) for size in SIZES}
    return {"name": name, **known, "parameters": model.num_parameters()}


def vocabulary(model: GPT2) -> list[str | None]:
    """Return the text of each id, None where it has none."""
    unused = set(model.unused_ids)
    texts = token_texts(model.require_tokenizer(), range(model.config.vocab_size))
    return [None if i in unused else text for i, text in enumerate(texts)]
