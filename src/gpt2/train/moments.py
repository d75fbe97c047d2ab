"""Which moments of a run are kept, and when: see `gpt2.visual.moments` for what they hold."""

from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path

import torch

from gpt2.config import RunConfig
from gpt2.data.batches import TokenStream
from gpt2.data.shard_folder import TokenData
from gpt2.progress import log
from gpt2.train.loop import Trainer
from gpt2.visual.moments import MOST_TOKENS, observe, write_moment


def moment_steps(config: RunConfig) -> list[int]:
    """Return the steps of a run whose moments are kept, in order."""
    most = config.history.moments
    return spread_steps(config.training.steps, config.evaluation.every, most) if most else []


def spread_steps(steps: int, every: int, most: int) -> list[int]:
    """Return at most `most` steps of a run, in order.

    They are 0, before the first step, powers of two, since a model changes fastest at first, and
    evaluations. Where these are too many, the powers get half of the room, and both are thinned
    evenly; the last step is always kept.

    Args:
        steps: Steps of the run.
        every: Steps between evaluations; the last step evaluates, too.
        most: At least 2.

    >>> spread_steps(900, 300, 24)
    [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 512, 600, 900]
    >>> spread_steps(900, 100, 8)
    [0, 8, 64, 300, 500, 512, 700, 900]
    """
    powers = list(takewhile(lambda power: power < steps, (2**i for i in range(steps.bit_length()))))
    evaluations = sorted({*range(every, steps, every), steps})
    powers = _thinned(powers, max((most - 1) // 2, most - 1 - len(evaluations)))
    evaluations = _thinned(evaluations, most - 1 - len(powers))
    return sorted({0, *powers, *evaluations})


def text_ids(config: RunConfig, data: TokenData) -> list[int]:
    """Return the tokens whose attention the moments of a run keep."""
    most = min(MOST_TOKENS, config.model.n_positions)
    if config.history.text is not None:
        return data.tokenizer.encode(config.history.text, allowed_special="all")[:most]
    held_out: list[int] = TokenStream(data.val, config.model.n_positions).read(0)[:most].tolist()
    return held_out


def keeping_moments(trainer: Trainer, run: Path, ids: list[int]) -> Callable[[], None]:
    """Return the function that keeps the moment of the step where a run is, if it is one to keep.

    All ranks call it, and rank 0 writes. A moment that cannot be written, as on a full disk, is
    logged and does not end the run.

    Args:
        trainer: The run.
        run: Its directory.
        ids: Tokens whose attention is kept.
    """
    due = moment_steps(trainer.config)

    def keep() -> None:
        state = trainer.state
        if state.step not in due:
            return
        # A compiled block would be compiled again for the shapes of these few passes.
        with torch.compiler.set_stance("force_eager"):
            moment = observe(trainer.parallel.model, ids, step=state.step, tokens=state.tokens)
        if trainer.processes.is_rank_0:
            try:
                write_moment(run, moment)
            except OSError as error:
                log(f"could not keep the moment of step {state.step}: {error}")

    return keep


def _thinned(values: Sequence[int], most: int) -> list[int]:
    """Return at most `most` of the values, evenly chosen from the last one back."""
    count = min(most, len(values))
    return [values[-1 - i * len(values) // count] for i in range(count)]
