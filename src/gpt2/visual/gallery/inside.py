"""What a model computes for one text, as the page holds it; web/inside.js shows it.

Dimension key: L blocks, T tokens, C channels, V vocabulary.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gpt2.files.pretrained import GPT2
from gpt2.visual.capture import Recording, record
from gpt2.visual.gallery.packed import PackedType, pack
from gpt2.visual.pictures.lens import layer_names, read_lens
from gpt2.visual.pictures.tokens import surprisal_bits
from gpt2.visual.token_texts import token_texts

MOST_TOKENS = 32  # of a text that are shown
LOGITS_BYTES = 2_500_000  # of a text: 12 positions of the released vocabulary
FLOAT32_BYTES = 8_000_000  # of queries and keys, beyond which they are stored in float16
LENS_TOP = 5


def inside(model: GPT2, text: str) -> dict[str, Any]:
    """Return what a model computes for the first tokens of a text, as strict JSON.

    Raises:
        InputError: The text has no tokens, or the model no tokenizer.
        NotFiniteError: The model has diverged.
    """
    whole = model.require_tokenizer().encode(text, allowed_special="all")
    return {"text": text, **inside_ids(model, whole, first=0)}


@torch.inference_mode()
def inside_ids(model: GPT2, whole: Sequence[int], *, first: int | None) -> dict[str, Any]:
    """Return what a model computes for a few tokens of a text, as `inside` does.

    Args:
        model: In float32, so that its numbers are true.
        whole: Token ids of the text.
        first: Position of the first token that is shown, and that the model reads: those before it
            are left out as if the text began there. None for the last tokens.
    """
    tokenizer = model.require_tokenizer()
    most = min(MOST_TOKENS, model.config.n_positions)
    last_first = max(0, len(whole) - most)
    first = last_first if first is None else min(first, last_first)
    ids = list(whole[first : first + most])
    recording = record(model, ids)
    recording.require_finite()
    queries_and_keys = recording.queries.nbytes + recording.keys.nbytes
    precision: PackedType = "float32" if queries_and_keys <= FLOAT32_BYTES else "float16"
    lens_ids, lens_probabilities = read_lens(model, recording, top=LENS_TOP)  # (L + 1, T, K)
    weights = torch.stack([recording.weights(i) for i in range(len(recording.scales))])
    return {
        "length": len(whole),  # in tokens; those that are not in `ids` are not shown
        "first": first,
        "ids": ids,
        "tokens": token_texts(tokenizer, ids),
        "bits": surprisal_bits(recording),
        "scales": recording.scales,
        "queries": pack(recording.queries, precision),
        "keys": pack(recording.keys, precision),
        "values": pack(recording.values, "float16"),
        "weights": pack(weights, "float16"),
        "stream": pack(hidden_states(recording), "float16"),
        "lens": {
            "layers": layer_names(len(lens_ids)),
            "ids": pack(lens_ids, "int32"),
            "probabilities": pack(lens_probabilities, "float16"),
        },
        "logits": _last_logits(model, recording),
    }


def hidden_states(recording: Recording) -> Tensor:  # (L + 2, T, C)
    """Return the residual stream before the first block and after each, and the normalized one."""
    return torch.cat([recording.stream()[::2], recording.final[None]])


def _last_logits(model: GPT2, recording: Recording) -> dict[str, Any]:
    """Return the logits of the last positions, as many as fit, -inf for ids that no token has."""
    logits = recording.logits.clone()
    logits[:, model.unused_ids] = -math.inf
    kept = max(1, LOGITS_BYTES // logits[0].nbytes)
    first = max(0, len(logits) - kept)
    return {"first": first, "values": pack(logits[first:])}
