"""Special tokens in a text: which become ids, which are refused, which are ordinary text."""

import re
from collections.abc import Collection, Iterable, Mapping
from itertools import takewhile
from typing import Literal

from llm_tokenizer.errors import TokenizerError, shown

Specials = Literal["all"] | Collection[str]

_SEVERAL = (tuple, list, set, frozenset)


def are_usual(allowed_special: Specials, disallowed_special: Specials) -> bool:
    """Return whether these can be no mistake, and concern a vocabulary's special tokens alone.

    `parts_of` has nothing to do then for a text that holds none of them. This is the quick check
    before it; False may mean anything.
    """
    return (allowed_special == "all" or isinstance(allowed_special, _SEVERAL)) and (
        disallowed_special == "all"
        or (isinstance(disallowed_special, _SEVERAL) and not disallowed_special)
    )


def parts_of(
    text: str,
    special_tokens: Mapping[str, int],
    allowed_special: Specials,
    disallowed_special: Specials,
) -> list[str | int]:
    """Cut a text at the allowed special tokens, and put their ids in their place.

    Args:
        text: Any string.
        special_tokens: The id of each special token.
        allowed_special: As for `Tokenizer.encode`.
        disallowed_special: As for `Tokenizer.encode`.
    Raises:
        TokenizerError: The text holds a disallowed special token, or a plain string was given in
            place of several special tokens.

    >>> parts_of("one<|end|>", {"<|end|>": 300}, allowed_special="all", disallowed_special="all")
    ['one', 300, '']
    """
    _must_be_several("allowed_special", allowed_special)
    _must_be_several("disallowed_special", disallowed_special)
    specials = set(special_tokens)
    allowed = specials if allowed_special == "all" else set(allowed_special)
    disallowed = specials - allowed if disallowed_special == "all" else set(disallowed_special)
    if any(special in text for special in disallowed):
        found = re.findall(_alternatives(disallowed), text)[0]
        raise TokenizerError(
            f"the text holds the special token {found!r}. To encode it as that token, pass "
            f"allowed_special={{{found!r}}}; to encode it as ordinary text, pass "
            f"disallowed_special=(); to refuse other special tokens only, pass "
            f"disallowed_special=tokenizer.special_tokens_set - {{{found!r}}}"
        )
    present = {special for special in allowed & specials if special in text}
    parts = re.split(f"({_alternatives(present)})", text) if present else [text]
    return [special_tokens[part] if part in present else part for part in parts]


def common_start(texts: Collection[str]) -> str:
    """Return what all texts begin with.

    >>> common_start(["<|user|>", "<|end|>"])
    '<|'
    """
    both = zip(min(texts, default=""), max(texts, default=""), strict=False)  # all lie between
    return "".join(first for first, _ in takewhile(lambda pair: pair[0] == pair[1], both))


def _must_be_several(name: str, specials: Specials) -> None:
    single = isinstance(specials, str | bytes) or not isinstance(specials, Iterable)
    if single and specials != "all":
        raise TokenizerError(
            f'{name} must be "all" or several texts, such as {{"<|endoftext|>"}}, got '
            f"{shown(specials)}; put a single one in a set"
        )


def _alternatives(specials: Collection[str]) -> str:
    # The longest first, so that one which begins another cannot hide it.
    return "|".join(re.escape(special) for special in sorted(specials, key=len, reverse=True))
