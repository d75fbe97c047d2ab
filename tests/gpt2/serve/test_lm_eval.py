"""lm-eval's `local-completions` over this server: its scores are those of the direct evaluation.

lm-eval's part is its own: it asks the server for the tokens of its texts, sends token ids with
`echo`, `logprobs: 1` and `max_tokens: 1`, and reads the log-probabilities of continuations.
"""

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gpt2.evaluate.harness import HarnessModel
from gpt2.evaluate.scoring import Scorer
from gpt2.files.pretrained import GPT2

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # lm-eval's own
    import lm_eval
    from lm_eval.models.openai_completions import LocalCompletionsAPI
    from lm_eval.tasks import TaskManager

pytestmark = [
    pytest.mark.usefixtures("offline_lm_eval"),
    *(
        pytest.mark.filterwarnings(f"ignore:::{package}")
        for package in ("lm_eval", "datasets", "dill", "multiprocess", "requests", "urllib3")
    ),
]

TEXT = (Path(__file__).parents[3] / "LICENSE").read_text(encoding="utf-8")
Connect = Callable[..., LocalCompletionsAPI]

LINES = [line for line in TEXT.splitlines() if line.count(" ") > 4]
ENDINGS = [" sell copies.", " né 日本", " the Software"]


@pytest.fixture
def connect(serve_with: Any, learned_model: GPT2) -> Iterator[Connect]:
    """Return lm-eval's client of a server, by its settings."""
    url = serve_with({"learned": learned_model}).url
    clients = []

    def client_of(**settings: Any) -> LocalCompletionsAPI:
        client = LocalCompletionsAPI(
            base_url=f"{url}/v1/completions", model="learned", max_length=48, **settings
        )
        clients.append(client)
        return client

    yield client_of
    for client in clients:
        client.tokenizer.session.close()


@pytest.fixture
def direct(learned_model: GPT2) -> HarnessModel:
    return HarnessModel(Scorer(learned_model))


def asked(pairs: list[tuple[Any, ...]]) -> list[Any]:
    return [SimpleNamespace(args=pair) for pair in pairs]


def test_the_tokens_are_those_of_the_server(connect: Connect, learned_model: GPT2) -> None:
    remote = connect()

    assert remote.tokenizer_backend == "remote"  # lm-eval has found out
    assert remote.tok_encode("né the") == learned_model.require_tokenizer().encode("né the")
    assert (remote.eot_token_id, remote.prefix_token_id) == (299, 299)


def test_continuations_have_the_likelihoods_of_the_direct_evaluation(
    connect: Connect, direct: HarnessModel
) -> None:
    known = [(line[:20], line[20:30]) for line in LINES[:6]]
    pairs = (
        known + [(line[:30], ending) for line in LINES[:8] for ending in ENDINGS] + [("", " sell")]
    )

    expected = direct.loglikelihood(asked(pairs))
    assert {is_greedy for _, is_greedy in expected} == {True, False}
    for settings in ({"batch_size": 1}, {"batch_size": 4}, {"num_concurrent": 3}):
        found = connect(**settings).loglikelihood(asked(pairs), disable_tqdm=True)
        nats = [nats for nats, _ in expected]
        assert [nats for nats, _ in found] == pytest.approx(nats, abs=1e-4)
        assert [is_greedy for _, is_greedy in found] == [is_greedy for _, is_greedy in expected]


def test_tasks_have_the_figures_of_the_direct_evaluation(
    connect: Connect, direct: HarnessModel, tmp_path: Path
) -> None:
    rows = [
        {"query": line[:20], "choices": [line[20:30], *ENDINGS], "gold": number % 4 // 3}
        for number, line in enumerate(LINES[:8])
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

    found, expected = (
        figures(model, [dict(choices), dict(lasts)]) for model in (connect(batch_size=4), direct)
    )

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


def test_texts_go_on_as_by_the_direct_evaluation(connect: Connect, direct: HarnessModel) -> None:
    settings = {"until": ["\n", "the"], "max_gen_toks": 12, "do_sample": False}
    contexts = [line[:20] for line in LINES[:6]]

    found = connect().generate_until(
        asked([(context, dict(settings)) for context in contexts]), disable_tqdm=True
    )

    assert found == direct.generate_until(asked([(each, settings) for each in contexts]))
    assert all(found)
