"""How to continue a prompt."""

import math
from dataclasses import dataclass, field

from gpt2.config.checks import check, check_seed
from gpt2.config.toml import check_types


@dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """How to continue a prompt."""

    max_new_tokens: int = 100
    """Tokens to write at the most; 0 to read the prompt alone."""
    temperature: float = 1.0
    """Divides the logits: 0 is greedy, below 1 safer, above 1 more varied."""
    top_k: int | None = None
    """Sample from the k likeliest tokens only."""
    top_p: float | None = None
    """Sample from the fewest likeliest tokens that together have probability p only."""
    min_p: float | None = None
    """Sample from tokens at least p times as likely as the likeliest only."""
    repetition_penalty: float = 1.0
    """Divides positive logits of tokens of prompt and text, multiplies negative: above 1 repeats
    less."""
    presence_penalty: float = 0.0
    """Subtracted from the logit of each token of the new text, -2 to 2: above 0 repeats less."""
    frequency_penalty: float = 0.0
    """Subtracted from the logit of a token as often as the new text holds it, -2 to 2."""
    logit_bias: dict[int, float] = field(default_factory=dict, hash=False)
    """Token ids, and what to add to the logit of each, -100 to 100 nats."""
    stop: tuple[str, ...] = ()
    """Strings that end a text and are no part of it."""
    stop_ids: tuple[int, ...] = ()
    """Token ids that end a text and are no part of it."""
    ignore_end: bool = False
    """Go on after <|endoftext|>."""
    top_log_probabilities: int = 0
    """Report so many of the likeliest tokens, with log-probabilities, beside each new one."""
    draft: bool = True
    """Guess tokens from repetitions in the text: the same text, sooner."""
    num_samples: int = 1
    """Continuations of each prompt."""
    seed: int | None = None
    """Seed of the draws; a new one each time if not set."""

    def __post_init__(self) -> None:
        check_types(self)
        self._check_filters()
        self._check_penalties()
        self._check_ends()
        check(self.max_new_tokens >= 0, "max_new_tokens must be at least 0", self.max_new_tokens)
        check(self.num_samples >= 1, "num_samples must be at least 1", self.num_samples)
        count = self.top_log_probabilities
        check(count >= 0, "top_log_probabilities must be at least 0", count)
        if self.seed is not None:
            check_seed("seed", self.seed)

    def _check_filters(self) -> None:
        check(self.temperature >= 0, "temperature must be at least 0", self.temperature)
        check(self.temperature < math.inf, "temperature must be finite", self.temperature)
        check(self.top_k is None or self.top_k >= 1, "top_k must be at least 1", self.top_k)
        for name in ("top_p", "min_p"):
            share = getattr(self, name)
            check(share is None or 0 <= share <= 1, f"{name} must be 0 to 1", share)

    def _check_penalties(self) -> None:
        repetition = self.repetition_penalty
        check(0.01 <= repetition <= 100, "repetition_penalty must be 0.01 to 100", repetition)
        for name in ("presence_penalty", "frequency_penalty"):
            penalty = getattr(self, name)
            check(-2 <= penalty <= 2, f"{name} must be -2 to 2", penalty)
        for token, bias in self.logit_bias.items():
            check(token >= 0, "logit_bias must name token ids, which are at least 0", token)
            check(-100 <= bias <= 100, f"logit_bias[{token}] must be -100 to 100", bias)

    def _check_ends(self) -> None:
        check("" not in self.stop, "stop must not hold an empty string", self.stop)
        check(min(self.stop_ids, default=0) >= 0, "stop_ids must be at least 0", self.stop_ids)
