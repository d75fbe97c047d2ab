"""lm-eval's `local-completions` over this server: its scores are those of the direct evaluation.

lm-eval's part is its own: it asks the server for the tokens of its texts, sends token ids with
`echo`, `logprobs: 1` and `max_tokens: 1`, and reads the log-probabilities of continuations.
"""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from gpt2.config import GPT2Config
from gpt2.evaluate.harness import HarnessModel
from gpt2.evaluate.scoring import Scorer
from gpt2.files.pretrained import GPT2
from llm_tokenizer import Tokenizer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # lm-eval's own
    import lm_eval
    from lm_eval.models.openai_completions import LocalCompletionsAPI
    from lm_eval.tasks import TaskManager

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:::{package}")
    for package in ("lm_eval", "datasets", "dill", "multiprocess", "requests", "urllib3")
]

TEXT = (Path(__file__).parents[3] / "LICENSE").read_text(encoding="utf-8")
LINES = [line for line in TEXT.splitlines() if line.count(" ") > 4]
ENDINGS = [" sell copies.", " né 日本", " the Software"]
CONFIG = GPT2Config(
    vocab_size=300, n_positions=96, n_embd=20, n_layer=2, n_head=4,
    embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def knowing(tokenizer: Tokenizer) -> GPT2:
    """A model that has read some lines of the license, so that some continuations are greedy."""
    model = GPT2(CONFIG, tokenizer=tokenizer, seed=3)
    lines = [tokenizer.encode_ordinary(line)[:40] for line in LINES[:6]]
    ids = torch.tensor([line + [299] * (40 - len(line)) for line in lines])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(80):
        optimizer.zero_grad()
        logits = model(ids)[:, :-1]
        F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
        optimizer.step()
    model.eval()
    return model


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("DISABLE_MULTIPROC", "1")  # lm-eval's bootstrap


@pytest.fixture(params=[{"batch_size": 1}, {"batch_size": 4}, {"num_concurrent": 3}], ids=str)
def remote(request: Any, serve_with: Any, knowing: GPT2) -> Iterator[LocalCompletionsAPI]:
    """lm-eval's client of a server."""
    url = serve_with({"knowing": knowing}).url
    client = LocalCompletionsAPI(
        base_url=f"{url}/v1/completions", model="knowing", max_length=96, **request.param
    )
    yield client
    client.tokenizer.session.close()


@pytest.fixture
def direct(knowing: GPT2) -> HarnessModel:
    return HarnessModel(Scorer(knowing))


def asked(pairs: list[tuple[Any, ...]]) -> list[Any]:
    return [SimpleNamespace(args=pair) for pair in pairs]


def test_the_tokens_are_those_of_the_server(remote: LocalCompletionsAPI, knowing: GPT2) -> None:
    assert remote.tokenizer_backend == "remote"  # lm-eval has found out
    assert remote.tok_encode("né the") == knowing.require_tokenizer().encode("né the")
    assert (remote.eot_token_id, remote.prefix_token_id) == (299, 299)


def test_continuations_have_the_likelihoods_of_the_direct_evaluation(
    remote: LocalCompletionsAPI, direct: HarnessModel
) -> None:
    known = [(line[:20], line[20:30]) for line in LINES[:6]]
    pairs = known + [(line[:30], ending) for line in LINES for ending in ENDINGS] + [("", " sell")]

    found = remote.loglikelihood(asked(pairs), disable_tqdm=True)

    expected = direct.loglikelihood(asked(pairs))
    assert [nats for nats, _ in found] == pytest.approx([nats for nats, _ in expected], abs=1e-4)
    assert [is_greedy for _, is_greedy in found] == [is_greedy for _, is_greedy in expected]
    assert {is_greedy for _, is_greedy in found} == {True, False}


def test_tasks_have_the_figures_of_the_direct_evaluation(
    remote: LocalCompletionsAPI, direct: HarnessModel, tmp_path: Path
) -> None:
    rows = [
        {"query": line[:20], "choices": [line[20:30], *ENDINGS], "gold": number % 4 // 3}
        for number, line in enumerate(LINES)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    shared = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(path)}, "cache_dir": str(tmp_path)},
        "test_split": "test",
        "doc_to_text": "{{query}}",
    }
    choices = shared | {
        "task": "choices",
        "output_type": "multiple_choice",
        "doc_to_target": "{{gold}}",
        "doc_to_choice": "choices",
        "target_delimiter": "",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    lasts = shared | {
        "task": "lasts",
        "output_type": "loglikelihood",
        "doc_to_target": "{{choices[0]}}",
        "target_delimiter": "",
        "metric_list": [{"metric": "acc"}, {"metric": "perplexity"}],
    }

    found, expected = (figures(model, [dict(choices), dict(lasts)]) for model in (remote, direct))

    assert found == pytest.approx(expected, rel=1e-4)
    assert set(found) == {"choices acc", "choices acc_norm", "lasts acc", "lasts perplexity"}
    assert all(0 < found[name] < 1 for name in found if "acc" in name)


def figures(model: Any, tasks: list[dict[str, Any]]) -> dict[str, float]:
    results = lm_eval.simple_evaluate(
        model,
        tasks=tasks,
        task_manager=TaskManager(include_defaults=False),
        bootstrap_iters=0,
        log_samples=False,
    )
    assert results is not None
    return {
        f"{task} {name.removesuffix(',none')}": value
        for task, metrics in results["results"].items()
        for name, value in metrics.items()
        if name.endswith(",none") and "stderr" not in name
    }


def test_texts_go_on_as_by_the_direct_evaluation(
    remote: LocalCompletionsAPI, direct: HarnessModel
) -> None:
    settings = {"until": ["\n", "the"], "max_gen_toks": 12, "do_sample": False}
    contexts = [line[:20] for line in LINES[:6]]

    found = remote.generate_until(
        asked([(context, dict(settings)) for context in contexts]), disable_tqdm=True
    )

    assert found == direct.generate_until(asked([(each, settings) for each in contexts]))
    assert all(found)
