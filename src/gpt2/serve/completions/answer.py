"""What does an answer hold beside texts? Log-probabilities, why each text ended, and the counts."""

from collections.abc import Iterable, Sequence
from typing import Any

from gpt2.generation.continuation import FinishReason
from gpt2.generation.log_probabilities import Token
from gpt2.serve.completions.token_strings import Places, TokenStrings, by_id

LEAST = -9999.0  # in place of a log-probability of minus infinity, which JSON cannot hold; as vLLM


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
