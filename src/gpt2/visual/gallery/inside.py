"""What a model computes for one text, as the page holds it; web/inside.js shows it.

Dimension key: L blocks, T tokens, C channels, V vocabulary.
"""

import math
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
    ids = whole[: most_tokens(model)]
    recording = record(model, ids)
    looks = inside_recorded(model, recording) | {"lens": lens_of(model, recording)}
    return {"text": text, "length": len(whole), **looks}


def most_tokens(model: GPT2) -> int:
    """Return how many tokens of a text are shown."""
    return min(MOST_TOKENS, model.config.n_positions)


@torch.inference_mode()
def inside_recorded(model: GPT2, recording: Recording) -> dict[str, Any]:
    """Return what a model has computed for a text, as `inside` does, but the lens.

    Raises:
        NotFiniteError: The model has diverged.
    """
    recording.require_finite()
    queries_and_keys = recording.queries.nbytes + recording.keys.nbytes
    precision: PackedType = "float32" if queries_and_keys <= FLOAT32_BYTES else "float16"
    weights = torch.stack([recording.weights(i) for i in range(len(recording.scales))])
    return {
        "ids": recording.ids,
        "tokens": token_texts(model.require_tokenizer(), recording.ids),
        "bits": surprisal_bits(recording),
        "scales": recording.scales,
        "queries": pack(recording.queries, precision),
        "keys": pack(recording.keys, precision),
        "values": pack(recording.values, "float16"),
        "weights": pack(weights, "float16"),
        "stream": pack(hidden_states(recording), "float16"),
        "layers": layer_names(len(recording.scales) + 1),
        "logits": _last_logits(model, recording),
    }


@torch.inference_mode()
def lens_of(model: GPT2, recording: Recording) -> dict[str, Any]:
    """Return the likeliest next tokens after each block; this takes longer than all else."""
    ids, probabilities = read_lens(model, recording, top=LENS_TOP)  # (L + 1, T, K)
    return {"ids": pack(ids, "int32"), "probabilities": pack(probabilities, "float16")}


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
