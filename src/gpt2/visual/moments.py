"""A moment of training: what a run keeps of its model at one step, and the file that holds it.

Dimension key: L blocks, H heads, T tokens, P positions, R rows, K columns: those that are kept. A
moment takes less than 1 MB, whatever the size of the model.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from gpt2.config import GenerationConfig
from gpt2.errors import CheckpointError
from gpt2.files.pretrained import GPT2
from gpt2.files.run_directory import MOMENT_SUFFIX, MOMENTS, checkpoint_name, list_moments
from gpt2.generation.sampling import Sampler
from gpt2.model.gpt import evaluating
from gpt2.model.sharding import full_tensor
from gpt2.visual.capture import record
from gpt2.visual.pictures.positions import chosen_channels
from gpt2.visual.thinning import evenly
from gpt2.visual.token_texts import token_texts
from llm_tokenizer.atomic import write_whole

WINDOW = 300  # rows and columns of the weights
MOST_POSITIONS = 1024
MOST_TOKENS = 32
MOST_MAPS = 384  # of attention, (T, T) each
PROMPT_TOKENS = 4  # of the text, which the sample continues
SAMPLING = GenerationConfig(max_new_tokens=40, temperature=0.8, top_k=50, seed=0)


@dataclass(frozen=True)
class Moment:
    """What is kept of a model at one step of its training."""

    step: int  # steps taken: 0 is before the first
    tokens: int  # read by these steps
    ids: list[int]  # T, of the text whose attention is kept
    labels: list[str]  # the T tokens' texts
    prompt: str  # the first tokens of the text
    sample: str  # how the model continues the prompt, always by the same draws
    blocks: list[int]  # L, 0-based: all, or evenly chosen
    heads: list[int]  # H, 0-based: all, or evenly chosen
    channels: list[int]  # of the position embeddings
    attention: Tensor  # (L, H, T, T), float16
    positions: Tensor  # (channels, P), float32: the first positions
    weights: Tensor  # (R, K), float16: first inputs and outputs of FIRST_C_ATTN


TENSORS = [entry.name for entry in fields(Moment) if entry.type is Tensor]


def observe(model: GPT2, ids: list[int], *, step: int, tokens: int) -> Moment:
    """Return what is to be kept of a model.

    No weight changes, and nothing draws from a global generator. Where the model is sharded, every
    rank must call this.

    Args:
        model: In float32, with a tokenizer; in training or not.
        ids: 1 to MOST_TOKENS token ids of a text.
        step: Steps taken.
        tokens: Tokens read by these steps.
    """
    recording = record(model, ids)
    blocks, heads = kept_maps(model.config.n_layer, model.config.n_head)
    channels = chosen_channels(model.config.n_embd)
    positions = full_tensor(model.wpe.weight)[:MOST_POSITIONS, channels]
    weights = full_tensor(model.block(0).attn.c_attn.weight)[:WINDOW, :WINDOW]
    tokenizer = model.require_tokenizer()
    return Moment(
        step=step,
        tokens=tokens,
        ids=ids,
        labels=token_texts(tokenizer, ids),
        prompt=tokenizer.decode(ids[:PROMPT_TOKENS]),
        sample=tokenizer.decode(continued(model, ids[:PROMPT_TOKENS])),
        blocks=blocks,
        heads=heads,
        channels=channels,
        attention=torch.stack([recording.weights(i)[heads] for i in blocks]).half(),
        positions=positions.t().float().cpu().contiguous(),
        # Transposed: the released files have a row for each input.
        weights=weights.t().half().cpu().contiguous(),
    )


def kept_maps(n_layer: int, n_head: int) -> tuple[list[int], list[int]]:
    """Return the blocks and heads whose attention is kept: all, or evenly chosen ones.

    >>> kept_maps(4, 2)
    ([0, 1, 2, 3], [0, 1])
    >>> blocks, heads = kept_maps(48, 25)
    >>> len(blocks), len(heads), blocks[:3], blocks[-1]
    (15, 25, [0, 3, 7], 47)
    """
    heads = evenly(n_head, MOST_MAPS)
    return evenly(n_layer, MOST_MAPS // len(heads)), heads


@torch.no_grad()
def continued(model: GPT2, ids: list[int]) -> list[int]:
    """Return the tokens that continue a prompt; none where a logit is not finite.

    Each pass reads the whole text: without a cache, it is a forward pass like any other, which a
    model sharded over several ranks has, too.
    """
    size, banned = model.config.vocab_size, model.unused_ids
    sampler = Sampler(SAMPLING, ids, sample=0, vocab_size=size, banned=banned)
    text = list(ids)
    with evaluating(model):
        for _ in range(SAMPLING.max_new_tokens):
            read = torch.tensor([text[-model.config.n_positions :]], device=model.device)
            logits = model(read)[0, -1].float().cpu()
            if not logits.isfinite().all():
                return []
            text.append(sampler.next(logits))
    return text[len(ids) :]


def write_moment(run: Path, moment: Moment) -> None:
    """Write a moment into a run directory, atomically.

    Raises:
        OSError: It cannot be written, as on a full disk.
    """
    path = run / MOMENTS / (checkpoint_name(moment.step) + MOMENT_SUFFIX)
    path.parent.mkdir(exist_ok=True)
    entries = dict(vars(moment))
    tensors = {name: entries.pop(name) for name in TENSORS}
    write_whole(path, safetensors.torch.save(tensors, {"moment": json.dumps(entries)}))


def read_moments(run: Path) -> list[Moment]:
    """Return the moments of a run, the first step first; without any, an empty list.

    Raises:
        CheckpointError: A file is damaged.
    """
    return [read_moment(path) for path in list_moments(run)]


def comparable(moments: Sequence[Moment]) -> list[Moment]:
    """Return the moments that show the same as the last: the same text, heads and channels."""
    return [moment for moment in moments if _subject(moment) == _subject(moments[-1])]


def _subject(moment: Moment) -> tuple[list[int], ...]:
    return moment.ids, moment.blocks, moment.heads, moment.channels


def drop_moments_after(run: Path, step: int) -> None:
    """Remove the moments of later steps: a run that resumes at `step` keeps them again."""
    for path in list_moments(run):
        if path.name > checkpoint_name(step) + MOMENT_SUFFIX:
            path.unlink()


def read_moment(path: Path) -> Moment:
    """Read a moment.

    Raises:
        CheckpointError: The file is damaged, or gone.
    """
    try:
        with safe_open(path, "pt") as file:
            entries: dict[str, Any] = json.loads((file.metadata() or {})["moment"])
            # Copied, since they lie in the mapped file.
            return Moment(**entries, **{name: file.get_tensor(name).clone() for name in TENSORS})
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        raise CheckpointError(
            f"{path} is no moment of a run, or damaged: remove it, and the others remain"
        ) from None
