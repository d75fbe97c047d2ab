"""What does an answer hold? Tokens as strings, their log-probabilities and places, the counts."""

import codecs
from collections.abc import Iterable, Sequence
from typing import Any

from gpt2.generation.continuation import FinishReason
from gpt2.generation.log_probabilities import Token
from llm_tokenizer import Tokenizer
from llm_tokenizer.errors import UnknownTokenError

LEAST = -9999.0  # in place of a log-probability of minus infinity, which JSON cannot hold; as vLLM


class TokenStrings:
    """How tokens are written in log-probabilities.

    Args:
        tokenizer: What the ids mean; without one all are written by their ids.
    """

    def __init__(self, tokenizer: Tokenizer | None) -> None:
        self._tokenizer = tokenizer
        self._strings: dict[int, str] = {}

    def bytes_of(self, token: int) -> bytes:
        """Return the bytes of a token; none where the vocabulary does not have it."""
        if self._tokenizer is None:
            return b""
        try:
            return self._tokenizer.decode_single_token_bytes(token)
        except UnknownTokenError:
            return b""

    def text_of(self, tokens: Iterable[int]) -> str:
        """Return the text of some tokens; U+FFFD where their bytes are no characters."""
        return b"".join(map(self.bytes_of, tokens)).decode(errors="replace")

    def __getitem__(self, token: int) -> str:
        """Return how a token is written."""
        if token not in self._strings:
            token_bytes = self.bytes_of(token)
            self._strings[token] = written(token_bytes) if token_bytes else by_id(token)
        return self._strings[token]


def written(token: bytes) -> str:
    r"""Return the characters of a token; its bytes if they are no whole characters.

    >>> written(b" the"), written(b"\xe2\x80")
    (' the', 'bytes:\\xe2\\x80')

    Source: the answers of OpenAI's API.
    """
    try:
        return token.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token)


def by_id(token: int) -> str:
    """Return how a token is written by its id.

    >>> by_id(464)
    'token_id:464'
    """
    return f"token_id:{token}"


class Places:
    """Where in a text each token begins: characters before it.

    A token that begins within a character is at that character.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._place = 0  # characters that are known

    def next(self, token: bytes) -> int:
        """Return the place of the next token."""
        is_within = bool(self._decoder.getstate()[0])
        first = self._decoder.decode(token[:1])
        # What does not go on with a character comes after U+FFFD in its place.
        breaks = is_within and (token[:1] < b"\x80" or token[:1] >= b"\xc0" or len(first) > 1)
        place = self._place + (breaks and token != b"")
        self._place += len(first) + len(self._decoder.decode(token[1:]))
        return place

    def end(self) -> None:
        """Begin another text after this one: what lacks bytes is a character now."""
        self._place += len(self._decoder.decode(b"", final=True))
        self._decoder.reset()


class LogProbabilities:
    """The log-probabilities of a choice, part by part.

    Args:
        strings: How tokens are written.
        shows_ids: Write them by their ids.
    """

    def __init__(self, strings: TokenStrings, shows_ids: bool = False) -> None:
        self._strings = strings
        self._written = by_id if shows_ids else strings.__getitem__
        self._places = Places()

    def of_prompt(self, ids: Sequence[int], scored: Sequence[Token]) -> dict[str, list[Any]]:
        """Return those of a prompt that is echoed.

        Args:
            ids: Its tokens.
            scored: All of them except the first, of which nothing is known: null. None if the text
                ended before the prompt was read.
        """
        known = [None, *scored] if scored else [None] * len(ids)
        listed = self._listed(ids, known)
        self._places.end()
        return listed

    def of_tokens(self, tokens: Sequence[Token]) -> dict[str, list[Any]]:
        """Return those of tokens that were drawn."""
        return self._listed([token.id for token in tokens], tokens)

    def _listed(self, ids: Sequence[int], tokens: Sequence[Token | None]) -> dict[str, list[Any]]:
        """Return tokens as OpenAI's API has them.

        Source: the object "logprobs" of a choice in OpenAI's API reference.
        """
        return {
            "tokens": [self._written(i) for i in ids],
            "token_logprobs": [token and finite(token.log_probability) for token in tokens],
            "top_logprobs": [token and self._top(token) for token in tokens],
            "text_offset": [self._places.next(self._strings.bytes_of(i)) for i in ids],
        }

    def _top(self, token: Token) -> dict[str, float]:
        """Return the likeliest tokens, and the one that was drawn in any case."""
        listed = [*token.likeliest, (token.id, token.log_probability)]
        return {self._written(i): finite(value) for i, value in listed}


def finite(log_probability: float) -> float:
    """Return a log-probability that JSON can hold.

    >>> finite(-0.5), finite(float("-inf"))
    (-0.5, -9999.0)
    """
    return max(log_probability, LEAST)


def joined(*parts: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Return the log-probabilities of several parts of a text as those of one.

    >>> joined({"tokens": ["a"]}, {"tokens": ["b", "c"]})
    {'tokens': ['a', 'b', 'c']}
    """
    return {name: [each for part in parts for each in part[name]] for name in parts[0]}


def api_finish_reason(reason: FinishReason, *, timed_out: bool) -> str:
    """Return why a text ended, in the API's words.

    >>> api_finish_reason("end_of_text", timed_out=False)
    'stop'
    >>> api_finish_reason("cancelled", timed_out=True)
    'timeout'

    Args:
        reason: As the engine has it.
        timed_out: Whether texts that were cancelled were so for the time limit.
    """
    if reason == "cancelled":
        return "timeout" if timed_out else "abort"
    return "stop" if reason == "end_of_text" else reason


def usage(prompts: Iterable[Sequence[int]], completion_tokens: int) -> dict[str, int]:
    """Return how many tokens were read and written.

    >>> usage([[5, 6, 7], [8]], 10)
    {'prompt_tokens': 4, 'completion_tokens': 10, 'total_tokens': 14}
    """
    prompt_tokens = sum(map(len, prompts))
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
