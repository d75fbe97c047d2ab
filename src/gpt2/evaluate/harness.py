"""lm-evaluation-harness over this package's model: its tasks, prompts and metrics, our arithmetic.

lm-eval turns the rows of its tasks into requests, which `HarnessModel` answers. Only what needs
lm-eval imports this module: it is an extra that may not be installed.

Source: Gao et al., lm-evaluation-harness, https://github.com/EleutherAI/lm-evaluation-harness; the
rules for contexts and windows are those of its model class `hf`, version 0.4.13.
"""

import contextlib
import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from difflib import get_close_matches
from numbers import Real
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from lm_eval.api.model import LM

from gpt2.config import GenerationConfig
from gpt2.errors import ConfigError, DataError, InputError
from gpt2.evaluate.measure import Measure, Show, measure, show_nothing
from gpt2.evaluate.packing import Question
from gpt2.evaluate.perplexity import windows_of
from gpt2.evaluate.results import Result
from gpt2.evaluate.scoring import Score, Scorer
from gpt2.generation.engine import MOST_TEXTS, Engine

Display = Callable[[], AbstractContextManager[Show]]
Key = tuple[int, ...]  # tokens

MOST_NEW_TOKENS = 256  # of a text whose task does not say; as `hf`
SEED = 1234  # of texts that are drawn: the harness's own for torch
DRAWS = 1000  # of the bootstrap, for metrics that are no means
LENGTH_NAMES = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
FILTERS = ("top_k", "top_p", "min_p", "repetition_penalty")


class Request(Protocol):
    """What lm-eval asks: an instance of its `Instance`."""

    @property
    def args(self) -> tuple[Any, ...]:
        """Context and continuation; or a text; or context and how to continue it."""


class HarnessModel(LM):  # type: ignore[misc]
    """A model that lm-eval can measure: pass it to `lm_eval.simple_evaluate(model=...)`.

    Args:
        scorer: Scores texts; its model needs a tokenizer.
        measure: How questions are scored.
        display: Shows how many texts are written.
    Raises:
        InputError: The model has no tokenizer.
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        measure: Measure = measure,
        display: Display = lambda: contextlib.nullcontext(show_nothing),
    ) -> None:
        super().__init__()
        self._scorer = scorer
        self._measure = measure
        self._display = display
        self.model = scorer.model
        self._tokenizer = self.model.require_tokenizer()
        self._engine: Engine | None = None

    @property
    def max_length(self) -> int:
        """Tokens that the model reads at once."""
        return self.model.config.n_positions

    @property
    def eot_token_id(self) -> int:
        """The id of <|endoftext|>, which stands before a text without a context."""
        return self._tokenizer.eot_token

    def loglikelihood(self, requests: Sequence[Request]) -> list[tuple[float, bool]]:
        """Score continuations of contexts.

        Continuations of the same context are one question, which is read once.

        Returns:
            For each request the log-likelihood of its continuation, in nats, and whether each of
            its tokens is the likeliest one.
        Raises:
            InputError: A continuation has no token, or more than the model reads.
        """
        asked: dict[Key, dict[Key, list[int]]] = {}  # context: continuation: numbers of requests
        for number, request in enumerate(requests):
            given, scored = self.encode_pair(*request.args)
            asked.setdefault(given, {}).setdefault(scored, []).append(number)
        found = self._measure(
            self._scorer,
            [Question(given, list(continuations)) for given, continuations in asked.items()],
            _numbers_of,
            weights=[sum(map(len, continuations.values())) for continuations in asked.values()],
        )
        answers = [(0.0, False)] * len(requests)
        for continuations, numbers in zip(asked.values(), found, strict=True):
            scores = zip(continuations.values(), numbers[::2], numbers[1::2], strict=True)
            for of_requests, nats, is_greedy in scores:
                for number in of_requests:
                    answers[number] = (-nats, bool(is_greedy))
        return answers

    def loglikelihood_rolling(self, requests: Sequence[Request]) -> list[float]:
        """Return the log-likelihood of each text after <|endoftext|>, in nats.

        A text longer than the model reads is scored in windows, as `windows_of` with a stride of
        n_positions yields them; windows of all texts are scored together.
        """
        questions: list[Question] = []
        owners: list[int] = []  # number of the text that each window is of
        for number, request in enumerate(requests):
            ids = [self.eot_token_id, *self._encode(request.args[0])]
            questions += windows_of(ids, 1, self.max_length, self.max_length)
            owners += [number] * (len(questions) - len(owners))
        shares = 1 / np.bincount(owners)[owners] if owners else np.zeros(0)
        found = self._measure(self._scorer, questions, _numbers_of, weights=shares.tolist())
        nats = np.bincount(owners, [each for each, _ in found], minlength=len(requests))
        return (-nats).tolist()

    def generate_until(self, requests: Sequence[Request]) -> list[str]:
        """Continue each context until one of the strings that its request names.

        A context loses its beginning where it leaves too little room for the new text.

        Returns:
            The new texts, up to the string that ended each.
        Raises:
            ConfigError: A request wants something that is not known here.
            InputError: A new text may be as long as what the model reads.
        """
        if self._engine is None:
            self._engine = Engine(self.model, most_texts=MOST_TEXTS)
        engine = self._engine
        texts = []
        for number, request in enumerate(requests):
            context, settings = request.args
            config = generation_config(settings)
            room = self.max_length - config.max_new_tokens
            if room < 1:
                raise InputError(
                    f"max_gen_toks must be below {self.max_length}, the context of the model, got "
                    f"{config.max_new_tokens}; set it in generation_kwargs of the task"
                )
            ids = self._encode(context)[-room:] or [self.eot_token_id]
            texts.append(engine.submit(ids, config, sample=number))
        with self._display() as show:
            done = 0
            show(done, len(texts))
            while engine.busy:
                done += sum(text.finish_reason is not None for text in engine.step())
                show(done, len(texts))
        return [text.text for text in texts]

    def encode_pair(self, context: str, continuation: str) -> tuple[Key, Key]:
        """Return the tokens of a context and those of its continuation.

        Spaces at the end of the context belong to the continuation, whose first token has them.
        """
        if not context:
            ids = self._encode(continuation)
            given = [] if ids[:1] == [self.eot_token_id] else [self.eot_token_id]
            return tuple([*given, *ids][:1]), tuple([*given, *ids][1:])
        kept = context.rstrip()
        given = self._encode(kept)
        return tuple(given), tuple(self._encode(context + continuation)[len(given) :])

    def _encode(self, text: str) -> list[int]:
        """Return the tokens of a text, in which <|endoftext|> is that token, as in `hf`."""
        return self._tokenizer.encode(text, allowed_special="all")


def generation_config(settings: Mapping[str, Any]) -> GenerationConfig:
    """Return what a request's generation_kwargs mean: greedy, unless a temperature is given.

    Raises:
        ConfigError: One of them is not known here, or out of range.
    """
    left = dict(settings)
    until = left.pop("until", None) or []
    lengths = [left.pop(name, None) for name in LENGTH_NAMES]
    is_greedy = left.pop("do_sample", None) is False
    temperature = float(left.pop("temperature", 0.0))
    filters = {name: left.pop(name) for name in FILTERS if name in left}
    if left.pop("num_beams", 1) != 1 or left:
        unknown = ", ".join(sorted(left)) or "num_beams"
        known = ", ".join(["until", *LENGTH_NAMES, "do_sample", "temperature", *FILTERS])
        raise ConfigError(f"generation_kwargs must be of {known}; got {unknown}")
    return GenerationConfig(
        stop=tuple(filter(None, [until] if isinstance(until, str) else until)),
        max_new_tokens=next((int(length) for length in lengths if length), MOST_NEW_TOKENS),
        temperature=0.0 if is_greedy else temperature,
        seed=SEED,
        **filters,
    )


def run_tasks(
    model: HarnessModel,
    tasks: Sequence[str],
    *,
    num_fewshot: int | None = None,
    limit: int | None = None,
    include_path: Path | None = None,
) -> Result:
    """Have lm-eval measure a model.

    Args:
        model: What answers its requests.
        tasks: Names of tasks, groups or tags, in which * stands for anything.
        num_fewshot: Examples before each question; None: as each task says.
        limit: Rows of each task; None: all.
        include_path: Folder with the YAML files of more tasks.
    Returns:
        A figure a task and metric, with lm-eval's own standard error.
    Raises:
        ConfigError: There is no such task, or lm-eval will not run it.
        DataError: Its rows cannot be loaded.
        InputError, NotFiniteError: As the methods of `HarnessModel`.
    """
    from lm_eval import simple_evaluate

    with contextlib.redirect_stdout(sys.stderr):  # where lm-eval prints what it does
        manager = _manager(include_path)
        loaded = _load(manager, _matching(manager, tasks))
        results = simple_evaluate(
            model=model,
            tasks=loaded,
            num_fewshot=num_fewshot,
            limit=limit,
            task_manager=manager,
            bootstrap_iters=DRAWS,
            log_samples=False,
        )
    return as_result(results)


def as_result(results: Mapping[str, Any]) -> Result:
    """Return what `lm_eval.simple_evaluate` returns as the result of an evaluation."""
    figures: dict[str, float] = {}
    errors: dict[str, float | None] = {}
    for task, metrics in (results["results"] | results.get("groups", {})).items():
        for key, value in metrics.items():
            metric, _, step = key.partition(",")  # a step takes the answer out of a text
            if step and not metric.endswith("_stderr") and isinstance(value, Real):
                name = f"{task} {metric}" + f" ({step})" * (step != "none")
                figures[name] = float(value)
                error = metrics.get(f"{metric}_stderr,{step}")
                errors[name] = float(error) if isinstance(error, Real) else None
    rows = {f"{task} rows": each["effective"] for task, each in results["n-samples"].items()}
    return Result(
        evaluation="harness",
        counts=rows,
        figures=figures,
        standard_errors=errors,
        notes=_notes(results),
    )


def checksum_of(questions: Iterable[Question]) -> str:
    """Return a checksum of the tokens of some questions, and of how they are divided."""
    digest = hashlib.sha256()
    for question in questions:
        for ids in (question.context, *question.continuations):
            digest.update(np.array([len(ids), *ids], np.int64).tobytes())
        digest.update(np.array([-1], np.int64).tobytes())
    return digest.hexdigest()


def _numbers_of(question: int, scores: Sequence[Score]) -> list[float]:
    """Return the nats of each continuation, and after them 1 if it is greedy, 0 if not."""
    return [each for score in scores for each in (score.total, float(score.is_greedy))]


def _manager(include_path: Path | None) -> Any:
    from lm_eval.tasks import TaskManager

    if include_path is not None and not include_path.is_dir():
        raise ConfigError(f"include_path must be a folder of tasks, got {include_path}")
    return TaskManager(include_path=None if include_path is None else str(include_path))


def _matching(manager: Any, tasks: Sequence[str]) -> list[str]:
    """Return the names that `tasks` mean, each once."""
    names: dict[str, None] = {}
    for task in tasks:
        if not (found := manager.match_tasks([task])):
            near = get_close_matches(task, manager.all_tasks)
            hint = f"near it: {', '.join(near)}" if near else "see lm-eval ls tasks"
            raise ConfigError(f"lm-eval has no task {task!r}; {hint}")
        names |= dict.fromkeys(found)
    return list(names)


def _load(manager: Any, names: Sequence[str]) -> list[Any]:
    """Return the tasks of these names, with their rows."""
    try:
        loaded = manager.load(list(names))
    except Exception as error:  # whatever the hub, a file format or the code of a task raises
        reason = " ".join(str(error).split())
        raise DataError(f"cannot load {', '.join(names)}: {reason}") from error
    if unsafe := [
        name for name, each in loaded["tasks"].items() if getattr(each, "UNSAFE_CODE", False)
    ]:
        raise ConfigError(f"{', '.join(unsafe)} would run code that the model writes; leave it out")
    within = {member for members in loaded["group_map"].values() for member in members}
    named = loaded["groups"] | loaded["tasks"]
    return [each for name, each in named.items() if name not in within]


def _notes(results: Mapping[str, Any]) -> tuple[str, ...]:
    """Say by which version of lm-eval, and of each task, with how many examples."""
    shots: dict[int, list[str]] = {}
    for task in results["n-samples"]:
        version = results["versions"].get(task, "")
        shots.setdefault(results["n-shot"][task], []).append(f"{task} {version}".strip())
    lines = (f"{count}-shot: {', '.join(tasks)}" for count, tasks in sorted(shots.items()))
    return (f"lm-eval {results['lm_eval_version']}", *lines)
