"""The learning rate of each step."""

import math

from gpt2.config import OptimizerConfig


def learning_rate(step: int, steps: int, config: OptimizerConfig) -> float:
    """Return the learning rate: a linear rise, then half a cosine down.

    Args:
        step: Step, the first being 0.
        steps: Steps of the whole run; from then on the rate stays at the minimum.
        config: Peak, minimum and warm-up.
    Source: Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts.
    """
    peak, minimum, warmup = config.learning_rate, config.min_learning_rate, config.warmup_steps
    if step < warmup:
        return peak * (step + 1) / warmup
    if step >= steps:
        return minimum
    progress = (step - warmup) / (steps - warmup)
    return minimum + (peak - minimum) * (1 + math.cos(math.pi * progress)) / 2
