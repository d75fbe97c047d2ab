"""lm-eval over our model: hand-made requests, then its own class for transformers, `hf`."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lm_eval
import pytest
import torch
from lm_eval.tasks import TaskManager

from gpt2.config import GPT2Config
from gpt2.errors import ConfigError, DataError, InputError
from gpt2.evaluate.harness import (
    HarnessModel,
    as_result,
    checksum_of,
    generation_config,
    run_tasks,
)
from gpt2.evaluate.measure import measure
from gpt2.evaluate.packing import Question
from gpt2.evaluate.perplexity import as_text, perplexity
from gpt2.evaluate.scoring import Scorer
from gpt2.files.pretrained import GPT2
from llm_tokenizer import Tokenizer

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:::{package}")
    for package in ("lm_eval", "datasets", "transformers", "dill", "multiprocess")
]

INSTALLED = Path(lm_eval.__file__).parent / "tasks"
END = "<|endoftext|>"
ENDINGS = ["is granted.", "is [title] sold", "shall be. ", "né 日本"]
HELLASWAG = [
    {"ctx_a": "Permission is hereby.", "ctx_b": "it", "endings": ENDINGS},
    {"ctx_a": "The Software [step] is provided", "ctx_b": "", "endings": ENDINGS[::-1]},
    {"ctx_a": "IN NO EVENT SHALL THE AUTHORS " * 4, "ctx_b": "THE", "endings": ENDINGS},
]
LAMBADA = [
    "Permission is hereby granted, free of charge, to any person",
    "to deal in the Software without restriction, " * 4 + "including",
    "日本 THE SOFTWARE né PROVIDED",
]
PAGES = [
    " = Permission = \n \n free of charge , to any person ( obtaining a copy ) @-@ all \n",
    "The Software 's rights to use , copy , modify , merge and so on . " * 5,
    "日本",
]
SUMS = ["1+1=", "2+2=", "3+3=", "4+4="]


@pytest.fixture
def model(tokenizer: Tokenizer) -> GPT2:
    shape = GPT2Config(vocab_size=300, n_positions=48, n_embd=20, n_layer=3, n_head=4)
    model = GPT2(shape, tokenizer=tokenizer, seed=1).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0)
    return model


@pytest.fixture
def ours(model: GPT2) -> HarnessModel:
    return HarnessModel(Scorer(model))


@pytest.fixture
def theirs(model: GPT2, tmp_path: Path) -> Any:
    """The same model, by transformers."""
    import transformers
    from lm_eval.models.huggingface import HFLM

    model.save_pretrained(tmp_path / "model")
    loaded = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    return HFLM(pretrained=loaded, tokenizer=tokenizer, batch_size=2)


@pytest.fixture
def tasks(ours: HarnessModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the harness's own tasks, over rows of this file."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda found: found.update(VERSION))
    monkeypatch.setattr("lm_eval.tasks.TaskManager", partial(TaskManager, include_defaults=False))
    monkeypatch.setenv("DISABLE_MULTIPROC", "1")
    folder = tmp_path / "tasks"
    folder.mkdir()
    about = {"activity_label": "Law", "label": "1"}
    write_task(folder, "hellaswag", "validation", [row | about for row in HELLASWAG])
    write_task(folder, "lambada_openai", "test", [{"text": text} for text in LAMBADA])
    write_task(folder, "wikitext", "test", [{"page": page} for page in PAGES])
    answers = ours.generate_until(
        requests(*((each, SUMS_TASK["generation_kwargs"]) for each in SUMS))
    )
    rows = [{"question": each, "answer": answers[0]} for each in SUMS]
    (folder / "sums.yaml").write_text(json.dumps(SUMS_TASK | rows_of(folder, "sums", "test", rows)))
    yield folder
    logging.getLogger("lm_eval").setLevel(logging.NOTSET)


VERSION = {"lm_eval_version": "0.4.13"}
SUMS_TASK: dict[str, Any] = {
    "task": "sums",
    "output_type": "generate_until",
    "test_split": "test",
    "fewshot_split": "test",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": ["\n", "the"], "max_gen_toks": 12, "do_sample": False},
    "metric_list": [{"metric": "exact_match"}],
}
PARENTS = {"hellaswag": "hellaswag", "lambada_openai": "lambada", "wikitext": "wikitext"}


def rows_of(folder: Path, name: str, split: str, rows: Sequence[Any]) -> dict[str, Any]:
    """Write the rows of a task, and return what its YAML says of them."""
    file = folder / f"{name}.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return {
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {split: str(file)}},
    }


def write_task(folder: Path, name: str, split: str, rows: Sequence[Any]) -> None:
    """Write a task as lm-eval has it, but for its rows."""
    about = {
        "include": str(INSTALLED / PARENTS[name] / f"{name}.yaml"),
        "task": name,
        "training_split": None,
        "validation_split": None,
        f"{split}_split": split,
        "fewshot_split": split,
    }
    text = json.dumps(about | rows_of(folder, name, split, rows))
    (folder / f"{name}.yaml").write_text(text)


def requests(*args: tuple[Any, ...]) -> list[Any]:
    return [SimpleNamespace(args=each) for each in args]


def figures_of(model: Any, tasks: Path, *names: str, **settings: Any) -> Mapping[str, float]:
    found = lm_eval.simple_evaluate(
        model,
        tasks=list(names),
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        bootstrap_iters=0,
        **settings,
    )
    return as_result(found).figures


def test_a_request_is_greedy_up_to_its_strings_unless_it_has_a_temperature() -> None:
    config = generation_config({"until": ["\n", ""], "max_gen_toks": 7, "num_beams": 1})
    assert (config.stop, config.max_new_tokens, config.temperature) == (("\n",), 7, 0)
    config = generation_config({"until": "Q:", "temperature": 0.7, "top_p": 0.9, "max_tokens": 5})
    assert (config.stop, config.max_new_tokens) == (("Q:",), 5)
    assert (config.temperature, config.top_p) == (0.7, 0.9)
    config = generation_config({"temperature": 0.7, "do_sample": False})
    assert (config.stop, config.max_new_tokens, config.temperature) == ((), 256, 0)


@pytest.mark.parametrize("settings", [{"num_beams": 4}, {"typical_p": 0.2}])
def test_what_a_request_wants_and_we_have_not_is_refused(settings: dict[str, Any]) -> None:
    [name] = settings
    with pytest.raises(ConfigError, match=f"generation_kwargs must be of until, .*; got {name}$"):
        generation_config(settings)


def test_spaces_after_a_context_belong_to_the_continuation(ours: HarnessModel) -> None:
    encode = ours.model.require_tokenizer().encode_ordinary
    assert ours.encode_pair("to use ", "it") == ours.encode_pair("to use", " it")
    given, scored = ours.encode_pair("to use ", "it")
    assert [*given, *scored] == encode("to use it")
    assert list(given) == encode("to use")


def test_without_a_context_a_continuation_follows_the_end_of_a_text(ours: HarnessModel) -> None:
    encode = ours.model.require_tokenizer().encode_ordinary
    assert ours.encode_pair("", "it") == ((299,), tuple(encode("it")))
    assert ours.encode_pair("", END + "it") == ((299,), tuple(encode("it")))


def test_a_context_is_read_once_and_equal_requests_are_scored_once(model: GPT2) -> None:
    asked: list[Question] = []

    def spy(scorer: Scorer, questions: Sequence[Question], *args: Any, **settings: Any) -> Any:
        asked.extend(questions)
        return measure(scorer, questions, *args, **settings)

    pairs = [("to use", " it"), ("to sell", " it"), ("to use", " or copy"), ("to use", " it")]
    answers = HarnessModel(Scorer(model), measure=spy).loglikelihood(requests(*pairs))
    assert [len(each.continuations) for each in asked] == [2, 1]
    alone = [HarnessModel(Scorer(model)).loglikelihood(requests(each))[0] for each in pairs]
    assert [nats for nats, _ in answers] == pytest.approx([nats for nats, _ in alone], abs=1e-4)
    assert answers[0] == answers[3] != answers[1]


def test_requests_have_the_likelihoods_that_hf_finds(ours: HarnessModel, theirs: Any) -> None:
    contexts = ["", "to use", "to use \n", "日本 né", f"{END}to", f"a{END} b", "to deal in " * 20]
    pairs = [(each, text) for each in contexts for text in (" it", "né", f" copy{END}", "e")]
    found, expected = ours.loglikelihood(requests(*pairs)), theirs.loglikelihood(requests(*pairs))
    assert [nats for nats, _ in found] == pytest.approx([nats for nats, _ in expected], abs=1e-4)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]


def test_the_likeliest_continuation_is_greedy_as_it_is_for_hf(
    ours: HarnessModel, theirs: Any
) -> None:
    [text] = ours.generate_until(requests(("to use", {"max_gen_toks": 1})))
    asked = requests(("to use", text), ("to use", text + "x"))
    found = ours.loglikelihood(asked)
    assert [greedy for _, greedy in found] == [True, False]
    assert [greedy for _, greedy in theirs.loglikelihood(asked)] == [True, False]


def test_whole_texts_have_the_likelihoods_that_hf_finds(ours: HarnessModel, theirs: Any) -> None:
    asked = requests(*((page,) for page in (*PAGES, END, f"a{END}b", "x")))
    expected = theirs.loglikelihood_rolling(asked)
    assert ours.loglikelihood_rolling(asked) == pytest.approx(expected, abs=1e-4)


def test_texts_go_on_as_by_hf_up_to_the_first_of_some_strings(
    ours: HarnessModel, theirs: Any
) -> None:
    [whole] = ours.generate_until(requests(("to use", {"max_gen_toks": 12})))
    contexts = ["to use", "né 日本", "to deal in " * 20, f"to{END}"]
    for settings in ({}, {"until": [whole[4:6]]}, {"until": whole[3:4]}, {"do_sample": False}):
        asked = requests(*((each, settings | {"max_gen_toks": 12}) for each in contexts))
        found = ours.generate_until(asked)
        assert found == theirs.generate_until(asked)
        assert found[0] == (whole.split(settings["until"][0])[0] if "until" in settings else whole)


def test_drawn_texts_are_the_same_each_time_and_differ_from_each_other(ours: HarnessModel) -> None:
    asked = requests(*[("to use", {"max_gen_toks": 12, "temperature": 1.0})] * 3)
    texts = ours.generate_until(asked)
    assert len(set(texts)) == 3
    assert ours.generate_until(asked) == texts


def test_a_text_as_long_as_the_context_of_the_model_is_refused(ours: HarnessModel) -> None:
    with pytest.raises(InputError, match="max_gen_toks must be below 48, .* got 48"):
        ours.generate_until(requests(("to use", {"max_gen_toks": 48})))


def test_a_continuation_without_a_token_is_refused(ours: HarnessModel) -> None:
    with pytest.raises(InputError, match="must have tokens, got an empty one"):
        ours.loglikelihood(requests(("to use", "")))


@pytest.mark.parametrize("kind", ["loglikelihood", "loglikelihood_rolling", "generate_until"])
def test_no_request_has_no_answer(ours: HarnessModel, kind: str) -> None:
    assert getattr(ours, kind)([]) == []


def test_a_model_without_a_tokenizer_is_refused(model: GPT2) -> None:
    model.tokenizer = None
    with pytest.raises(InputError, match="the model has no tokenizer"):
        HarnessModel(Scorer(model))


@pytest.mark.parametrize("num_fewshot", [0, 2])
def test_tasks_have_the_figures_that_hf_finds(
    num_fewshot: int, ours: HarnessModel, theirs: Any, tasks: Path
) -> None:
    names = ["hellaswag", "lambada_openai", "wikitext", "sums"]
    found = figures_of(ours, tasks, *names, num_fewshot=num_fewshot)
    expected = figures_of(theirs, tasks, *names, num_fewshot=num_fewshot)
    assert found == pytest.approx(expected, rel=1e-4)
    assert (found["sums exact_match"] > 0) == (num_fewshot == 0)  # one answer is the model's own
    assert set(found) == {
        "hellaswag acc",
        "hellaswag acc_norm",
        "lambada_openai perplexity",
        "lambada_openai acc",
        "wikitext word_perplexity",
        "wikitext byte_perplexity",
        "wikitext bits_per_byte",
        "sums exact_match",
    }


def test_our_own_word_perplexity_is_that_of_the_harness(
    model: GPT2, ours: HarnessModel, tasks: Path
) -> None:
    from lm_eval.tasks.wikitext.preprocess_wikitext import wikitext_detokenizer

    tokenizer = model.require_tokenizer()
    texts = [as_text(wikitext_detokenizer({"page": p}), tokenizer, before=p) for p in PAGES]
    found = perplexity(Scorer(model), texts, stride=48).figures
    expected = figures_of(ours, tasks, "wikitext")
    assert found["word_perplexity"] == pytest.approx(expected["wikitext word_perplexity"], rel=1e-4)
    assert found["bits_per_byte"] == pytest.approx(expected["wikitext bits_per_byte"], rel=1e-4)


def test_tasks_are_run_by_name_and_figures_have_the_standard_errors_of_lm_eval(
    ours: HarnessModel, tasks: Path
) -> None:
    found = run_tasks(ours, ["lambada*", "hellaswag"], include_path=tasks, limit=2, num_fewshot=1)
    assert found.counts == {"lambada_openai rows": 2, "hellaswag rows": 2}
    assert set(found.figures) == set(found.standard_errors)
    assert found.figures["lambada_openai acc"] == 0
    assert found.standard_errors["lambada_openai acc"] == 0
    assert (found.standard_errors["lambada_openai perplexity"] or 0) > 0
    assert found.notes == ("lm-eval 0.4.13", "1-shot: lambada_openai 1.0, hellaswag 1.0")


def test_what_lm_eval_prints_is_no_part_of_the_output(
    ours: HarnessModel, tasks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_tasks(ours, ["lambada_openai"], include_path=tasks)
    assert capsys.readouterr().out == ""


def test_a_task_that_is_not_there_is_refused(ours: HarnessModel, tasks: Path) -> None:
    with pytest.raises(ConfigError, match="lm-eval has no task 'hellaswog'; near it: hellaswag"):
        run_tasks(ours, ["hellaswog"], include_path=tasks)
    with pytest.raises(ConfigError, match="include_path must be a folder of tasks, got .*nowhere"):
        run_tasks(ours, ["hellaswag"], include_path=tasks / "nowhere")


def test_a_task_whose_rows_are_not_there_is_refused_in_one_line(
    ours: HarnessModel, tasks: Path
) -> None:
    (tasks / "wikitext.jsonl").unlink()
    with pytest.raises(DataError, match=r"cannot load wikitext: [^\n]*wikitext.jsonl[^\n]*$"):
        run_tasks(ours, ["wikitext"], include_path=tasks)


def test_a_task_that_runs_what_the_model_writes_is_refused(ours: HarnessModel, tasks: Path) -> None:
    file = tasks / "sums.yaml"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"unsafe_code": True}))
    with pytest.raises(ConfigError, match="sums would run code that the model writes"):
        run_tasks(ours, ["sums"], include_path=tasks)


def test_a_group_has_its_figure_beside_those_of_its_tasks(ours: HarnessModel, tasks: Path) -> None:
    mean = {"metric": "acc", "aggregation": "mean", "weight_by_size": True}
    members = ["hellaswag", "lambada_openai"]
    group = {"group": "both", "task": members, "aggregate_metric_list": [mean]}
    (tasks / "both.yaml").write_text(json.dumps(group))
    found = run_tasks(ours, ["both"], include_path=tasks).figures
    acc = [found[f"{name} acc"] for name in members]
    assert found["both acc"] == pytest.approx(sum(acc) / 2)


def test_figures_have_the_name_of_the_filter_that_took_the_answer_out() -> None:
    metrics = {"alias": "a", "acc,strict": 0.5, "acc_stderr,strict": "N/A", "acc,none": 0.25}
    found = as_result(
        {
            "results": {"a": metrics},
            "n-samples": {"a": {"effective": 3}},
            "versions": {},
            "n-shot": {"a": 5},
            "lm_eval_version": "1",
        }
    )
    assert found.figures == {"a acc (strict)": 0.5, "a acc": 0.25}
    assert found.standard_errors == {"a acc (strict)": None, "a acc": None}
    assert found.notes == ("lm-eval 1", "5-shot: a")


def test_other_tokens_or_another_division_of_them_have_another_checksum() -> None:
    all_questions = [
        [Question([1, 2], [[3], [4]])],
        [Question([1, 2], [[3, 4]])],
        [Question([1], [[2], [3], [4]])],
        [Question([1, 2], [[3]]), Question([1, 2], [[4]])],
        [],
    ]
    checksums = {checksum_of(questions) for questions in all_questions}
    assert len(checksums) == len(all_questions)
    assert checksum_of([Question((1, 2), [(3,), (4,)])]) in checksums
