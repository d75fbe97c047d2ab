"""How to continue a prompt."""

import math
from dataclasses import dataclass

from gpt2.config.checks import check, check_seed
from gpt2.config.toml import check_types


@dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """How to continue a prompt."""

    max_new_tokens: int = 100
    """Tokens to write at the most."""
    temperature: float = 1.0
    """Divides the logits: 0 is greedy, below 1 safer, above 1 more varied."""
    top_k: int | None = None
    """Sample from the k likeliest tokens only."""
    num_samples: int = 1
    """Continuations of each prompt."""
    seed: int | None = None
    """Seed of the draws; a new one each time if not set."""

    def __post_init__(self) -> None:
        check_types(self)
        check(self.max_new_tokens >= 1, "max_new_tokens must be at least 1", self.max_new_tokens)
        check(self.temperature >= 0, "temperature must be at least 0", self.temperature)
        check(self.temperature < math.inf, "temperature must be finite", self.temperature)
        check(self.top_k is None or self.top_k >= 1, "top_k must be at least 1", self.top_k)
        check(self.num_samples >= 1, "num_samples must be at least 1", self.num_samples)
        if self.seed is not None:
            check_seed("seed", self.seed)
