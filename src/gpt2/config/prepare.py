"""How text becomes token shards."""

import re
from dataclasses import dataclass

from gpt2.config.checks import check, check_seed
from gpt2.config.toml import check_types


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """What of a source becomes which tokens: the same settings, the same shards."""

    text_column: str = "text"
    """Column of a parquet file, or key of a JSON line, that holds the text."""
    separator: str | None = None
    """Text between two documents of a .txt file, such as "\\n"; without it a file is a document."""
    hold_out: float = 0.1
    """Share of the documents that is held out for evaluation, while there are val_tokens."""
    val_tokens: int | None = None
    """Held-out tokens at most, over all parts, save the end of a very long document; shard_tokens
    if not set. The rest is trained on."""
    shard_tokens: int = 100_000_000
    """Tokens a shard."""
    seed: int = 0
    """Decides which documents are held out."""
    part: str = "1/1"
    """3/16 takes the third of 16 disjoint parts, which together are the whole."""

    def __post_init__(self) -> None:
        check_types(self)
        check(bool(self.text_column), "text_column must be a name", self.text_column)
        check(self.separator != "", "separator must be some text", self.separator)
        fits = self.hold_out == 0 or 1e-9 <= self.hold_out < 1
        check(fits, "hold_out must be 0, or at least 1e-9 and below 1", self.hold_out)
        fits = self.val_tokens is None or self.val_tokens >= 0
        check(fits, "val_tokens must be at least 0", self.val_tokens)
        fits = 1 <= self.shard_tokens < 2**31  # which the header of a shard holds
        check(fits, "shard_tokens must be at least 1 and below 2**31", self.shard_tokens)
        check_seed("seed", self.seed)
        match = re.fullmatch(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,8})", self.part)
        fits = match is not None and int(match[1]) <= int(match[2])
        check(fits, "part must be a number and how many there are, such as 3/16", self.part)

    @property
    def part_number(self) -> int:
        """0-based number of the part."""
        return int(self.part.partition("/")[0]) - 1

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return int(self.part.partition("/")[2])

    @property
    def most_val_tokens(self) -> int:
        """Held-out tokens at most in this part."""
        whole = self.shard_tokens if self.val_tokens is None else self.val_tokens
        return -(-whole // self.parts)
