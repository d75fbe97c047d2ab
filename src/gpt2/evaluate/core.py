"""CORE: how far a model is above chance in some tasks, their mean.

An option is chosen by its lowest mean loss. In language modelling a row is right if each token is
the likeliest one. The accuracy of a task is centred: 0 is a random guess, 1 is all right.

Source: Li et al. 2024, DataComp-LM, arXiv:2406.11794; computed as in nanochat, core_eval.py.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gpt2.evaluate.bootstrap import resampled_means, standard_error
from gpt2.evaluate.core_bundle import Kind, Task
from gpt2.evaluate.core_prompts import parts_of, prompts_of
from gpt2.evaluate.measure import Measure, measure
from gpt2.evaluate.references import of_sizes
from gpt2.evaluate.results import Result
from gpt2.evaluate.scoring import Score, Scorer

TASKS = 22  # of CORE
# As measured by nanochat, in its notebook on GPT-2's CORE.
REFERENCES = {
    "core": of_sizes(0.1139, 0.1849, 0.2146, 0.2565),
    "hellaswag_zeroshot": of_sizes(0.309, 0.390, 0.440, 0.502),
    "lambada_openai": of_sizes(0.323, 0.426, 0.488, 0.523),
    "piqa": of_sizes(0.623, 0.670, 0.698, 0.725),
}


def core(scorer: Scorer, tasks: Sequence[Task], *, measure: Measure = measure) -> Result:
    """Measure a model on the tasks of CORE.

    Args:
        scorer: Scores the prompts.
        tasks: With their rows, none without.
        measure: How the prompts are scored.
    Raises:
        InputError: The model has no tokenizer.
        UnknownTokenError: Its tokenizer has no <|endoftext|>.
        NotFiniteError: A loss is not finite.
    """
    tokenizer, longest = scorer.model.require_tokenizer(), scorer.model.config.n_positions
    rows = [(task, index) for task in tasks for index in range(len(task.examples))]
    parts = [list(parts_of(prompts_of(task, k, tokenizer), longest)) for task, k in rows]
    flat = [(row, part) for row, its in enumerate(parts) for part in its]

    def numbers_of(number: int, scores: list[Score]) -> list[float]:
        row, part = flat[number]
        kind = rows[row][0].kind
        return [value_of(kind, *each) for each in zip(scores, part.scored, strict=True)]

    found = measure(
        scorer,
        [part.question for _, part in flat],
        numbers_of,
        weights=[1 / len(parts[row]) for row, _ in flat],  # so that progress counts rows
    )
    values: list[dict[int, float]] = [{} for _ in rows]
    for (row, part), numbers in zip(flat, found, strict=True):
        values[row] |= zip(part.options, numbers, strict=True)
    right = [is_right(task, k, each) for (task, k), each in zip(rows, values, strict=True)]
    return summarize(tasks, right)


def value_of(kind: Kind, score: Score, scored: int) -> float:
    """Return what decides on an option: whether it is the likeliest text, or its mean loss.

    Args:
        kind: Of the task.
        score: Of the continuation.
        scored: Its last tokens count.
    """
    return float(score.is_greedy if kind == "language_modeling" else score.nats[-scored:].mean())


def is_right(task: Task, index: int, values: Mapping[int, float]) -> bool:
    """Return whether the model answers a row as it should.

    Args:
        task: Of the row.
        index: Of the row.
        values: `value_of` of the options that are scored.
    """
    if task.kind == "language_modeling":
        return values.get(0) == 1
    return chosen(values) == task.examples[index].gold


def chosen(losses: Mapping[int, float]) -> int:
    """Return the option with the lowest mean loss, the first of equal ones.

    An option that others begin with has no token to score. It is chosen if it is the first one, and
    else never: so does nanochat, whose mean of no losses is NaN, to which Python's min() compares.

    Args:
        losses: Mean loss of each option that has one, by its index.
    """
    return min(sorted(losses), key=losses.__getitem__) if 0 in losses else 0


def centred(accuracy: NDArray[np.float64], baseline: float) -> NDArray[np.float64]:
    """Return accuracies as shares of the way from a random guess to all right."""
    return (accuracy - baseline) / (1 - baseline)


def summarize(tasks: Sequence[Task], right: Sequence[bool]) -> Result:
    """Return the result of rows that are right or wrong.

    Standard errors are those of a mean of independent rows. That of CORE, and its interval, are of
    the bootstrap over the rows of each task.

    Args:
        tasks: The tasks.
        right: Of each row of each task, in order.
    """
    figures: dict[str, float] = {"core": 0.0}
    errors: dict[str, float | None] = {"core": None}
    ends = np.cumsum([len(task.examples) for task in tasks])
    rows = np.split(np.array(right, np.float64), ends[:-1])
    for task, values in zip(tasks, rows, strict=True):
        share = f"{task.label}_centred"
        figures[task.label] = float(values.mean())
        figures[share] = float(centred(values.mean(), task.baseline))
        errors[task.label] = standard_error(values)
        errors[share] = standard_error(values / (1 - task.baseline))
    figures["core"] = float(np.mean([figures[f"{task.label}_centred"] for task in tasks]))
    intervals = {}
    if min(map(len, rows)) > 1:  # of one row it is unknown how others would be
        draws = resampled_cores(tasks, rows)
        errors["core"] = float(draws.std(ddof=1))
        low, high = np.percentile(draws, [2.5, 97.5]).tolist()
        intervals["core"] = (low, high)
    return Result(
        evaluation="core",
        counts={"tasks": len(tasks), "rows": len(right)},
        figures=figures,
        standard_errors=errors,
        intervals=intervals,
        references={name: known for name, known in REFERENCES.items() if name in figures},
        notes=notes_on(tasks),
    )


def resampled_cores(
    tasks: Sequence[Task], rows: Sequence[NDArray[np.float64]]
) -> NDArray[np.float64]:  # -> (draws,)
    """Return CORE of rows drawn with replacement: of tasks that share a file, the same ones.

    Args:
        tasks: The tasks.
        rows: Of each task, 1 for each row that is right and 0 for the others.
    """
    data = [task.data for task in tasks]
    shares = [
        centred(resampled_means(values[:, None], seed=data.index(task.data))[:, 0], task.baseline)
        for task, values in zip(tasks, rows, strict=True)
    ]
    return np.mean(shares, axis=0)


def notes_on(tasks: Sequence[Task]) -> tuple[str, ...]:
    """Return in what the tasks differ from those of the published figures."""
    notes = []
    if len(tasks) != TASKS:
        notes.append(f"of {len(tasks)} tasks; the published figures of CORE are of {TASKS}")
    left_out = sum(task.left_out for task in tasks)
    if left_out:
        notes.append(f"of the first rows of each shuffled task; {left_out:,} are left out")
    return tuple(notes)
