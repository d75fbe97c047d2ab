"""CORE: hand-computed figures, and a plain pass over one prompt at a time."""

import csv
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml

from gpt2.config import GPT2Config
from gpt2.errors import NotFiniteError
from gpt2.evaluate.core import (
    centred,
    chosen,
    core,
    is_right,
    resampled_cores,
    summarize,
    value_of,
)
from gpt2.evaluate.core_bundle import Example, Kind, Task, read_bundle
from gpt2.evaluate.core_prompts import parts_of, prompts_of
from gpt2.evaluate.scoring import Score, Scorer
from gpt2.files.pretrained import GPT2
from llm_tokenizer import Tokenizer

LONGEST = 128  # tokens of the model of these tests
WORDS = "the Software and 日本 to use copies né of OTHER in no event shall be a sale"
ENDS = ["", " of", " né the"]
LIKELIEST = " the"  # one token, which this model expects in most places


def some_words(generator: random.Random, least: int, most: int) -> str:
    return " ".join(generator.choices(WORDS.split(), k=generator.randint(least, most)))


def choice_rows(generator: random.Random, count: int, words: int = 8) -> Iterator[dict[str, Any]]:
    """Yield rows whose choices differ in length; of some, one is the beginning of the others."""
    for number in range(count):
        choices = [some_words(generator, 1, 4) for _ in range(2 + number % 3)]
        if number % 4 == 1:
            choices = [choices[0] + more for more in random.Random(number).sample(ENDS, 3)]
        query = some_words(generator, 1, words) + ":\n" * (number % 2)
        yield {"query": query, "choices": choices, "gold": number % len(choices)}


def letter_rows(generator: random.Random, count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        query = some_words(generator, 1, 9)
        yield {"query": query, "choices": ["A", "B", "C"], "gold": number % 3, "other": None}


def schema_rows(generator: random.Random, count: int, words: int = 8) -> Iterator[dict[str, Any]]:
    for number in range(count):
        begin = some_words(generator, 1, words)
        contexts = [f"{begin} {some_words(generator, 1, 2)}" for _ in range(2 + number % 2)]
        yield {
            "context_options": contexts,
            "continuation": some_words(generator, 1, 5),
            "gold": number % len(contexts),
        }


def text_rows(generator: random.Random, count: int, words: int = 8) -> Iterator[dict[str, Any]]:
    """Yield rows of which some continue as the model of these tests does."""
    for number in range(count):
        continuation = ["the", "the the", "the of"][number % 3]
        context = some_words(generator, 1, words) + " " * (number % 2)
        yield {"context": context, "continuation": continuation}


def all_tasks() -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Return the entry in core.yaml and the rows of each task."""
    generator = random.Random(7)

    def entry(label: str, kind: str, shots: int, **others: Any) -> dict[str, Any]:
        uri = f"some/{label}.jsonl"
        return {
            "label": label,
            "dataset_uri": uri,
            "num_fewshot": [shots],
            "icl_task_type": kind,
        } | others

    return [
        (entry("piqa", "multiple_choice", 2), list(choice_rows(generator, 13))),
        (
            entry("letters", "multiple_choice", 0, continuation_delimiter="\nAnswer: "),
            list(letter_rows(generator, 9)),
        ),
        (
            entry("long", "multiple_choice", 5, has_categories=True),
            [*choice_rows(generator, 9, 40)],
        ),
        (entry("winograd", "schema", 5), list(schema_rows(generator, 11))),
        (entry("long_schema", "schema", 2), list(schema_rows(generator, 7, 60))),
        (entry("lambada_openai", "language_modeling", 0), list(text_rows(generator, 12))),
        (entry("long_text", "language_modeling", 5), list(text_rows(generator, 9, 40))),
        # More shots than other rows.
        (entry("few", "language_modeling", 10), list(text_rows(generator, 4))),
    ]


BASELINES = {"piqa": "50.0", "letters": "33.3", "long": "25", "winograd": "50"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    tasks = all_tasks()
    content = yaml.safe_dump({"icl_tasks": [entry for entry, _ in tasks], "other": 1})
    (folder / "core.yaml").write_text(content, encoding="utf-8")
    with (folder / "eval_meta_data.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Eval Task", "Task Category", "Random baseline"])
        for entry, _ in tasks:
            writer.writerow([entry["label"], "a, b", BASELINES.get(entry["label"], "0")])
    (folder / "eval_data" / "some").mkdir(parents=True)
    for entry, rows in tasks:
        lines = "".join(json.dumps(row, ensure_ascii=len(rows) % 2 == 0) + "\n" for row in rows)
        (folder / "eval_data" / entry["dataset_uri"]).write_text(lines, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def wide_model(tokenizer: Tokenizer) -> GPT2:
    """A model of 128 positions, of which " the" is the likeliest token in most places."""
    config = GPT2Config(vocab_size=300, n_positions=LONGEST, n_embd=20, n_layer=2, n_head=4)
    model = GPT2(config, tokenizer=tokenizer, seed=1).eval()
    [token] = tokenizer.encode_ordinary(LIKELIEST)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8.0)
        model.ln_f.weight.fill_(1.0)
        model.ln_f.bias.copy_(8.0 * model.wte.weight[token])
    return model


@torch.no_grad()
def losses_and_guesses(model: GPT2, ids: list[int]) -> tuple[torch.Tensor, list[int]]:
    """Return the loss of each token but the first, and the guess in its place."""
    logits = model(torch.tensor([ids]))[0, :-1]
    losses = F.cross_entropy(logits, torch.tensor(ids[1:]), reduction="none")
    return losses, logits.argmax(dim=-1).tolist()


def common(rows: list[list[int]]) -> int:
    count = 0
    for column in zip(*rows, strict=False):
        if len(set(column)) > 1:
            break
        count += 1
    return count


def texts_of(kind: str, delimiter: str, row: dict[str, Any]) -> tuple[list[str], str]:
    """Return the text of each option and, of language modelling, the one without the answer."""
    if kind == "multiple_choice":
        return [f"{row['query']}{delimiter}{choice}" for choice in row["choices"]], ""
    if kind == "schema":
        options = row["context_options"]
        return [f"{context}{delimiter}{row['continuation']}" for context in options], ""
    unanswered = f"{row['context'].strip()}{delimiter}"
    return [unanswered + row["continuation"]], unanswered


def reference(
    model: GPT2, entry: dict[str, Any], data: list[dict[str, Any]], index: int
) -> tuple[list[float], bool]:
    """Return the mean loss of each option of a row, and whether the row is right."""
    kind, delimiter = entry["icl_task_type"], entry.get("continuation_delimiter", " ")
    row, tokenizer = data[index], model.require_tokenizer()
    options, unanswered = texts_of(kind, delimiter, row)
    others = [k for k in range(len(data)) if k != index]
    count = min(entry["num_fewshot"][0], len(others))
    before = ""
    for number in random.Random(1234 + index).sample(others, count):
        before += texts_of(kind, delimiter, data[number])[0][data[number].get("gold", 0)] + "\n\n"

    def encode(prompt: str) -> list[int]:
        return [tokenizer.eot_token, *tokenizer.encode_ordinary(prompt)]

    rows = [encode(before + option) for option in options]
    if kind == "multiple_choice":
        starts = [common(rows)] * len(rows)
    elif kind == "schema":
        suffix = common([ids[::-1] for ids in rows])
        starts = [len(ids) - suffix for ids in rows]
    else:
        starts = [common([encode((before + unanswered).strip()), rows[0]])]
    means, matches = [], []
    for ids, start in zip(rows, starts, strict=True):
        cut = max(0, len(ids) - LONGEST)
        losses, guesses = losses_and_guesses(model, ids[cut:])
        first = start - cut
        means.append(losses[first - 1 :].mean().item())
        matches.append(guesses[first - 1 :] == ids[start:])
    if kind == "language_modeling":
        return means, matches[0]
    return means, means.index(min(means)) == row["gold"]


def shuffled(rows: list[dict[str, Any]], most: int | None = None) -> list[dict[str, Any]]:
    data = list(rows)
    random.Random(1337).shuffle(data)
    return data[:most]


@pytest.mark.parametrize("most", [None, 5])
def test_every_task_is_as_right_as_one_prompt_at_a_time(
    most: int | None, wide_model: GPT2, bundle: Path
) -> None:
    result = core(Scorer(wide_model), read_bundle(bundle, most).tasks)
    shares = []
    for entry, rows in all_tasks():
        data = shuffled(rows, most)
        right = [reference(wide_model, entry, data, index)[1] for index in range(len(data))]
        baseline = 0.01 * float(BASELINES.get(entry["label"], "0"))
        accuracy = sum(right) / len(right)
        assert result.figures[entry["label"]] == pytest.approx(accuracy)
        shares.append((accuracy - baseline) / (1 - baseline))
        assert result.figures[entry["label"] + "_centred"] == pytest.approx(shares[-1])
    assert result.figures["core"] == pytest.approx(sum(shares) / len(shares))
    assert len({round(share, 6) for share in shares}) > 4  # the tasks do differ


def test_the_loss_of_each_option_is_that_of_its_prompt_alone(
    wide_model: GPT2, bundle: Path
) -> None:
    scorer, cut, unscored = Scorer(wide_model), 0, 0
    for task, (entry, rows) in zip(read_bundle(bundle).tasks, all_tasks(), strict=True):
        data = shuffled(rows)
        for index in range(len(data)):
            prompts = prompts_of(task, index, wide_model.require_tokenizer())
            cut += any(len(prompt.ids) > LONGEST for prompt in prompts)
            parts = list(parts_of(prompts, LONGEST))
            found = dict(scorer.score(part.question for part in parts))
            losses = {
                option: value_of("schema", score, count)
                for number, part in enumerate(parts)
                for option, score, count in zip(
                    part.options, found[number], part.scored, strict=True
                )
            }
            expected, _ = reference(wide_model, entry, data, index)
            unscored += sum(map(math.isnan, expected))
            first = {k: loss for k, loss in enumerate(expected) if expected.index(loss) == k}
            finite = {k: loss for k, loss in first.items() if not math.isnan(loss)}
            assert losses == pytest.approx(finite, abs=1e-4)
    assert cut > 10
    assert unscored > 3  # the bundle has what these tests are about


def test_a_bundle_is_found_in_the_folder_above(wide_model: GPT2, bundle: Path) -> None:
    moved = bundle.parent / "above"
    moved.mkdir()
    (moved / "eval_bundle").symlink_to(bundle)
    assert read_bundle(moved).tasks == read_bundle(bundle).tasks


def a_task(label: str, *, rows: int, kind: Kind = "schema", gold: int = 0, **others: Any) -> Task:
    settings: dict[str, Any] = {"shots": 0, "baseline": 0.0, "data": label} | others
    return Task(label=label, kind=kind, examples=[Example(["a", "b"], gold)] * rows, **settings)


def test_core_is_the_mean_of_centred_accuracies_as_computed_by_hand() -> None:
    tasks = [a_task("piqa", rows=4, baseline=0.5), a_task("b", rows=2, baseline=0.2)]
    result = summarize(tasks, [True, True, True, False, False, False])
    assert result.figures == pytest.approx(
        {
            "core": (0.5 - 0.25) / 2,  # the mean of the centred ones
            "piqa": 0.75,
            "piqa_centred": 0.5,
            "b": 0.0,
            "b_centred": -0.25,  # worse than chance
        }
    )
    assert result.counts == {"tasks": 2, "rows": 6}
    assert result.references["piqa"]["GPT-2 124M"] == 0.623
    assert set(result.references) == {"core", "piqa"}


def test_the_interval_is_that_of_independent_rows() -> None:
    generator = np.random.default_rng(0)
    tasks = [a_task(name, rows=400, baseline=0.25) for name in ("a", "b", "c")]
    right = (generator.random(1200) < 0.5).tolist()
    result = summarize(tasks, right)
    # Of a mean of three: each has sqrt(1/4 / 400) = 0.025, or 0.0333 when centred.
    assert result.standard_errors["a"] == pytest.approx(0.025, rel=0.02)
    assert result.standard_errors["a_centred"] == pytest.approx(0.025 / 0.75, rel=0.02)
    expected = 0.025 / 0.75 / math.sqrt(3)
    assert result.standard_errors["core"] == pytest.approx(expected, rel=0.1)
    low, high = result.intervals["core"]
    assert high - low == pytest.approx(2 * 1.96 * expected, rel=0.1)
    assert (low + high) / 2 == pytest.approx(result.figures["core"], abs=expected / 5)


def test_tasks_that_share_a_file_draw_the_same_rows() -> None:
    rows = (np.random.default_rng(0).random(400) < 0.5).astype(float)
    alone = [resampled_cores([a_task("a", rows=400)], [rows]).std()]
    for data in ("a", "b"):
        tasks = [a_task("a", rows=400), a_task("b", rows=400, data=data)]
        alone.append(resampled_cores(tasks, [rows, rows]).std())
    assert alone[1] == pytest.approx(alone[0])  # the same doubt twice
    assert alone[2] == pytest.approx(alone[0] / math.sqrt(2), rel=0.1)


def test_of_one_row_no_uncertainty_is_known() -> None:
    result = summarize([a_task("a", rows=1), a_task("b", rows=2)], [True, False, True])
    assert result.standard_errors["a"] is None
    assert result.standard_errors["core"] is None
    assert result.intervals == {}
    assert "95 %" not in result.to_text()


def test_the_interval_has_a_column_and_a_key() -> None:
    result = summarize([a_task("a", rows=2), a_task("b", rows=2)], [True, False, True, True])
    low, high = result.intervals["core"]
    lines = result.to_text().splitlines()
    assert next(line.split()[:2] for line in lines if not line.startswith("#")) == ["core", "±"]
    [line] = [line for line in lines if line.startswith("core ")]
    assert f"{low:.4f} to {high:.4f}" in line
    assert result.to_row()["intervals"] == {"core": (low, high)}


def test_what_differs_from_the_published_figures_is_noted() -> None:
    tasks = [a_task(str(number), rows=1) for number in range(22)]
    assert summarize(tasks, [True] * 22).notes == ()
    few = summarize([a_task("a", rows=2, left_out=1000)], [True, True])
    assert few.notes == (
        "of 1 tasks; the published figures of CORE are of 22",
        "of the first rows of each shuffled task; 1,000 are left out",
    )


def test_the_first_of_the_lowest_losses_is_chosen() -> None:
    assert chosen({0: 2.0, 1: 1.0, 2: 1.0}) == 1
    assert chosen({2: 1.0, 1: 1.0, 0: 3.0}) == 1  # in whatever order they come


def test_an_option_without_a_token_of_its_own_is_chosen_only_if_it_is_the_first() -> None:
    for losses in ([math.nan, 1.0], [2.0, math.nan, 1.0], [1.0, math.nan], [math.nan, math.nan]):
        known = {k: loss for k, loss in enumerate(losses) if not math.isnan(loss)}
        assert chosen(known) == losses.index(min(losses))


def test_a_text_of_which_nothing_is_scored_is_not_right() -> None:
    task = a_task("a", rows=1, kind="language_modeling")
    assert is_right(task, 0, {0: 1.0})
    assert not is_right(task, 0, {0: 0.0})
    assert not is_right(task, 0, {})


def test_a_mean_loss_is_over_the_scored_tokens_alone() -> None:
    score = Score(np.array([9.0, 1.0, 2.0]), np.True_)
    assert value_of("schema", score, 2) == 1.5
    assert value_of("language_modeling", score, 3) == 1.0


def test_accuracies_are_centred_as_computed_by_hand() -> None:
    assert centred(np.array([0.25, 1.0, 0.0]), 0.25).tolist() == pytest.approx([0, 1, -1 / 3])


def test_a_loss_that_is_not_finite_is_an_error(tokenizer: Tokenizer) -> None:
    config = GPT2Config(vocab_size=300, n_positions=16, n_embd=8, n_layer=1, n_head=2)
    model = GPT2(config, tokenizer=tokenizer)
    model.wte.weight.data[:] = float("nan")
    with pytest.raises(NotFiniteError):
        core(Scorer(model), [a_task("a", rows=2, kind="multiple_choice")])
