"""What is new of a choice? Its text and tokens since the last time, until it has ended."""

from collections.abc import Sequence
from typing import Any

from gpt2.generation.log_probabilities import Token
from gpt2.serve.completions.answer import LogProbabilities, TokenStrings, api_finish_reason, joined
from gpt2.serve.completions.request import CompletionRequest
from gpt2.serve.completions.texts import RequestTexts
from gpt2.serve.worker import Writing


class Choice:
    """One of the texts that a request asks for. Taken once or part by part, it is the same text.

    Args:
        index: Its 0-based number among the choices of the request.
        request: Which asks for it.
        texts: All of the request.
        strings: How its model's tokens are written.
    """

    def __init__(
        self, index: int, request: CompletionRequest, texts: RequestTexts, strings: TokenStrings
    ) -> None:
        self.index = index
        self.has_ended = False  # and all of it has been taken
        self.tokens = 0  # that were drawn, of those that have been taken
        self._pieces = 0  # of its text, of those that have been taken
        self._is_new = True
        self._writing: Writing = texts.writings[index]
        self._scored: Writing = texts.writings[index - index % request.samples]
        self._texts = texts
        self._request = request
        self._strings = strings
        self._log_probabilities: LogProbabilities | None = None
        if request.logprobs is not None:
            shows_ids = bool(request.return_tokens_as_token_ids)
            self._log_probabilities = LogProbabilities(strings, shows_ids)

    def take(self) -> dict[str, Any] | None:
        """Return what is new, as JSON; None if nothing is."""
        writing = self._writing
        pieces = writing.text.pieces[self._pieces : writing.pieces]
        tokens = writing.text.tokens[self.tokens : writing.tokens]
        reason = writing.finish_reason
        if self._has_to_wait or not (pieces or reason or self._lists(tokens) or self._echoes):
            return None
        ids, is_new, echoes = writing.text.prompt_ids, self._is_new, self._echoes
        echo = self._strings.text_of(ids) if echoes else ""
        choice: dict[str, Any] = {
            "index": self.index,
            "text": echo + "".join([text for text, _ in pieces]),
            "logprobs": self._listed(tokens, echoes),
            "finish_reason": reason and api_finish_reason(reason, timed_out=self._texts.timed_out),
        }
        if self._request.return_token_ids:
            choice["token_ids"] = [token.id for token in tokens]
            if is_new:
                choice["prompt_token_ids"] = ids
        self._pieces, self.tokens = writing.pieces, writing.tokens
        self._is_new, self.has_ended = False, reason is not None
        return choice

    @property
    def _echoes(self) -> bool:
        return self._is_new and bool(self._request.echo)

    @property
    def _has_to_wait(self) -> bool:
        """Whether nothing comes: it has ended, or the prompt's log-probabilities are not known."""
        if not self._is_new or not self._request.scores_prompts:
            return self.has_ended
        return not (self._scored.prompt_is_read or self._scored.finish_reason)

    @property
    def _end_token(self) -> list[Token]:
        """The token that ended the text, if the prompt is scored.

        Who scores texts by `echo` and `max_tokens: 1`, such as lm-eval, leaves out one token at the
        end, and would leave out one of the prompt if there were no other.
        """
        end = self._writing.text.end_token if self._writing.finish_reason else None
        return [end] if end and self._request.scores_prompts else []

    def _lists(self, tokens: Sequence[Token]) -> bool:
        is_asked = self._log_probabilities is not None or self._request.return_token_ids
        return bool(tokens and is_asked)

    def _listed(self, tokens: Sequence[Token], echoes: bool) -> dict[str, list[Any]] | None:
        """Return the log-probabilities of what is new."""
        if self._log_probabilities is None:
            return None
        listed = []
        if echoes:
            text = self._scored.text
            scored = text.prompt_tokens if self._scored.prompt_is_read else []
            listed.append(self._log_probabilities.of_prompt(text.prompt_ids, scored))
        return joined(*listed, self._log_probabilities.of_tokens([*tokens, *self._end_token]))
