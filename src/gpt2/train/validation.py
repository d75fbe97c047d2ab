"""What is measured at intervals while a run trains: the held-out loss, samples, and more.

An evaluation is a function of the model and the processes. All ranks call it at the same step, and
each may do its share. What it returns becomes part of a row of metrics.jsonl.
"""

from collections.abc import Callable, Sequence

import torch

from gpt2 import devices
from gpt2.config import GenerationConfig
from gpt2.data.batches import TokenStream
from gpt2.errors import NotFiniteError
from gpt2.files.pretrained import GPT2
from gpt2.generation.generate import generate
from gpt2.train.distributed import Processes
from gpt2.train.metrics import Row

Evaluation = Callable[[GPT2, Processes], Row]


def held_out_loss(stream: TokenStream, val_tokens: int, batch_rows: int) -> Evaluation:
    """Return the evaluation of the loss on the first rows of the held-out tokens.

    Args:
        stream: The held-out tokens.
        val_tokens: Tokens to read; fewer where there are fewer.
        batch_rows: Rows a forward pass.
    """
    count = min(stream.rows, max(1, val_tokens // stream.length))

    def evaluate(model: GPT2, processes: Processes) -> Row:
        losses, sizes = [], []  # nats a token, rows
        for first in range(0, count, batch_rows * processes.world_size):
            begin = first + processes.rank * batch_rows
            share = range(min(begin, count), min(begin + batch_rows, count))
            # A rank without a share reads a row, too: where a model is sharded, all must take part.
            rows = devices.move(torch.from_numpy(stream.read_rows(share or [0])), model.device)
            losses.append(model.loss(rows[:, :-1], rows[:, 1:]))
            sizes.append(len(share))
        nats = devices.read(torch.stack(losses))  # at the end: a GPU need not wait in between
        total = sum(loss * size for loss, size in zip(nats, sizes, strict=True))
        return {"val_loss": processes.sum(total) / count, "val_tokens": count * stream.length}

    return evaluate


def samples(prompts: Sequence[str], tokens: int) -> Evaluation:
    """Return the evaluation that continues each prompt, always with the same draws.

    Args:
        prompts: Texts; without any, nothing is drawn.
        tokens: Tokens a sample.
    """
    config = GenerationConfig(max_new_tokens=tokens, temperature=0.8, top_k=50, seed=0)

    def evaluate(model: GPT2, processes: Processes) -> Row:
        if not prompts:
            return {}
        try:
            texts = [sample.text for sample in generate(model, prompts, config)]
        except NotFiniteError:  # the loss shows it
            return {}
        pairs = zip(prompts, texts, strict=True)
        return {"samples": [{"prompt": prompt, "text": text} for prompt, text in pairs]}

    return evaluate
