"""The same model and rows in lm-eval and in ours: the figures are equal to 1e-4.

lm-eval's part is its own: how tasks make prompts, pairs are encoded, and figures computed. The
model is transformers', one continuation a pass.
"""

import json
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from gpt2.evaluate.cloze import cloze
from gpt2.evaluate.data_files import read_rows
from gpt2.evaluate.hellaswag import hellaswag
from gpt2.evaluate.lambada import lambada, passages
from gpt2.evaluate.multiple_choice import multiple_choice
from gpt2.evaluate.results import Result
from gpt2.evaluate.scoring import Scorer
from gpt2.files.pretrained import GPT2
from llm_tokenizer import Tokenizer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # lm-eval's own
    import lm_eval
    from lm_eval.api.model import TemplateLM
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks.hellaswag.utils import process_docs
    from lm_eval.tasks.winogrande import preprocess_winogrande

pytestmark = pytest.mark.usefixtures("offline_lm_eval")

TEXT = (Path(__file__).parents[3] / "LICENSE").read_text(encoding="utf-8")
WORDS = (
    "the Software is furnished to do so, subject to conditions; and this permission notice shall"
)
HELLASWAG = [
    {
        "ind": k,
        "activity_label": f"Granting {word}",
        "ctx_a": f"A person [header] grants {word} [title] rights.",
        "ctx_b": "they",
        "ctx": f"A person [header] grants {word} [title] rights. they",
        "endings": [
            f"{word} sell copies.",
            f"[step] use  the {word}",
            "merge.",
            f"publish {word}.",
        ],
        "label": k % 4,
    }
    for k, word in enumerate(WORDS.split())
]
# Of each line of the license its words but the last: the first lines are known by heart.
LINES = [line for line in TEXT.splitlines() if line.count(" ") > 4]
LAMBADA = [{"text": line.rpartition(" ")[0]} for line in LINES]
CLOZE = [{"context": line[:20], "continuation": line[20:28]} for line in LINES]
CHOICES = [
    {
        "query": f"Question: what is {word}? \nAnswer:{end}",
        "choices": [f"a {word}", "日本 sold", word],
        "gold": k % 3,
    }
    for k, (word, end) in enumerate(zip(WORDS.split(), ["", " ", "\n "] * 5, strict=False))
]
CHOICES += [{"query": "", "choices": ["of the", "copies"], "gold": 1}]
WINOGRANDE = [
    {
        "sentence": f"The copy fits the {word} because the _ is {word}.",
        "option1": "copy",
        "option2": word,
        "answer": str(1 + k % 2),
    }
    for k, word in enumerate(WORDS.split())
]


class Transformers(TemplateLM):  # type: ignore[misc]
    """transformers' model for lm-eval, by the formula."""

    def __init__(self, directory: Path, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._model = transformers.GPT2LMHeadModel.from_pretrained(directory).eval()
        self._longest = self._model.config.n_positions  # tokens: some rows are longer
        self._tokenizer = tokenizer

    @property
    def eot_token_id(self) -> int:
        return self._tokenizer.eot_token

    def tok_encode(self, string: str, **kwargs: Any) -> list[int]:
        return self._tokenizer.encode_ordinary(string)

    def _loglikelihood_tokens(
        self, requests: Iterable[tuple[Any, list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        return [self._score(context, tail) for _, context, tail in requests]

    @torch.no_grad()
    def _score(self, context: list[int], tail: list[int]) -> tuple[float, bool]:
        ids = torch.tensor([*context, *tail])[-(self._longest + 1) :]
        log_likelihoods = self._model(ids[None, :-1]).logits[0, -len(tail) :].log_softmax(dim=-1)
        targets = ids[-len(tail) :]
        total = log_likelihoods.gather(1, targets[:, None]).sum()
        return float(total), bool((log_likelihoods.argmax(dim=-1) == targets).all())

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> Any:
        raise NotImplementedError

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> Any:
        raise NotImplementedError


@pytest.fixture(scope="module")
def theirs(
    learned_model: GPT2, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., dict[str, Any]]:
    """Return lm-eval's figures of rows, by the settings of a task."""
    directory = tmp_path_factory.mktemp("lm-eval")
    learned_model.save_pretrained(directory)
    model = Transformers(directory, learned_model.require_tokenizer())
    manager = TaskManager(include_defaults=False)

    def measure(path: Path, **settings: Any) -> dict[str, Any]:
        task = {
            "task": "rows",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(path)}, "cache_dir": str(path.parent)},
            "test_split": "test",
            "metric_list": [{"metric": name} for name in settings.pop("metrics")],
            **settings,
        }
        found = lm_eval.simple_evaluate(
            model, tasks=[task], task_manager=manager, bootstrap_iters=2, log_samples=False
        )
        assert found is not None
        return {key.removesuffix(",none"): value for key, value in found["results"]["rows"].items()}

    return measure


def write(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def check(ours: Result, theirs: dict[str, Any], names: dict[str, str]) -> None:
    for name, their_name in names.items():
        assert ours.figures[name] == pytest.approx(theirs[their_name], rel=1e-4)
        assert ours.figures[name] not in (0, 1)  # the rows differ
        if their_name != "perplexity":  # whose error is drawn
            error = ours.standard_errors[name]
            assert error == pytest.approx(theirs[f"{their_name}_stderr"], rel=1e-4)


def test_hellaswag(learned_model: GPT2, theirs: Callable[..., Any], tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", HELLASWAG)
    expected = theirs(
        path,
        output_type="multiple_choice",
        process_docs=process_docs,
        doc_to_text="{{query}}",
        doc_to_target="{{label}}",
        doc_to_choice="choices",
        metrics=["acc", "acc_norm"],
    )
    check(
        hellaswag(Scorer(learned_model), read_rows(path)),
        expected,
        {"acc": "acc", "acc_norm": "acc_norm"},
    )


def test_lambada(learned_model: GPT2, theirs: Callable[..., Any], tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", LAMBADA)
    expected = theirs(
        path,
        output_type="loglikelihood",
        doc_to_text="{{text.split(' ')[:-1]|join(' ')}}",
        doc_to_target="{{' '+text.split(' ')[-1]}}",
        metrics=["acc", "perplexity"],
    )
    found = lambada(Scorer(learned_model), passages(path))
    check(found, expected, {"accuracy": "acc", "perplexity": "perplexity"})


def test_cloze(learned_model: GPT2, theirs: Callable[..., Any], tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", CLOZE)
    expected = theirs(
        path,
        output_type="loglikelihood",
        doc_to_text="{{context}}",
        doc_to_target="{{continuation}}",
        target_delimiter="",
        metrics=["acc", "perplexity"],
    )
    found = cloze(Scorer(learned_model), read_rows(path))
    check(found, expected, {"accuracy": "acc", "perplexity": "perplexity"})


def test_multiple_choice(learned_model: GPT2, theirs: Callable[..., Any], tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", CHOICES)
    expected = theirs(
        path,
        output_type="multiple_choice",
        doc_to_text="{{query}}",
        doc_to_target="{{gold}}",
        doc_to_choice="{{choices}}",
        metrics=["acc", "acc_norm"],
    )
    found = multiple_choice(Scorer(learned_model), read_rows(path))
    check(found, expected, {"acc": "acc", "acc_norm": "acc_norm"})


def test_winogrande(learned_model: GPT2, theirs: Callable[..., Any], tmp_path: Path) -> None:
    expected = theirs(
        write(tmp_path / "rows.jsonl", WINOGRANDE),
        output_type="multiple_choice",
        doc_to_text=preprocess_winogrande.doc_to_text,
        doc_to_target=preprocess_winogrande.doc_to_target,
        doc_to_choice=preprocess_winogrande.doc_to_choice,
        metrics=["acc"],
    )
    rows = []
    for row in WINOGRANDE:
        before, after = row["sentence"].split("_")
        contexts = [before + row["option1"], before + row["option2"]]
        rows.append(
            {"contexts": contexts, "continuation": after.rstrip(), "gold": int(row["answer"]) - 1}
        )
    path = write(tmp_path / "converted.jsonl", rows)
    check(multiple_choice(Scorer(learned_model), read_rows(path)), expected, {"acc": "acc"})
