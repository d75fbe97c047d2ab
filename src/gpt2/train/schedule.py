"""The learning rate and the context length of each step."""

import math

from gpt2.config import OptimizerConfig, RunConfig


def learning_rate(step: int, steps: int, config: OptimizerConfig) -> float:
    """Return the learning rate: linear warm-up, then cosine decay.

    Args:
        step: 0-based step.
        steps: Steps of the whole run; from then on the rate stays at the minimum.
        config: Peak, minimum and warm-up.
    Source: Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts.
    """
    peak, minimum, warmup = config.learning_rate, config.lowest_learning_rate, config.warmup_steps
    if step < warmup:
        return peak * (step + 1) / warmup
    if step >= steps:
        return minimum
    progress = (step - warmup) / (steps - warmup)
    return minimum + (peak - minimum) * (1 + math.cos(math.pi * progress)) / 2


def context_length(step: int, config: RunConfig) -> int:
    """Return the tokens a row of a 0-based step: short_context at first, if that is set.

    Source: Li et al. 2022, arXiv:2108.06084, sequence length warm-up, in two stages.
    """
    training, longest = config.training, config.model.n_positions
    is_short = step < training.short_context_share * training.steps
    return training.short_context if training.short_context and is_short else longest
