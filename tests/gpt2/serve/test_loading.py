"""How a model is opened to be served, and which are refused."""

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from gpt2.cli.model_flags import EngineFlags
from gpt2.config import ServeConfig
from gpt2.errors import CheckpointError, InputError, NotFiniteError
from gpt2.files.pretrained import GPT2
from gpt2.generation.engine import Engine
from gpt2.serve.errors import ApiError
from gpt2.serve.loading import cache_bytes, check_usable, open_models
from gpt2.serve.models import ServedModel, ServedModels, serve_model
from llm_tokenizer.compiled import kernels

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def garbage_is_found_again() -> Iterator[None]:
    """Undo what a server does for its whole process."""
    yield
    gc.unfreeze()


def opener(path: str) -> EngineFlags:
    return EngineFlags(model=path, device="cpu")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(model: GPT2, value: float) -> None:
    check_usable("runs/own", model)
    with torch.no_grad():
        model.block(1).ln_1.bias[3] = value

    with pytest.raises(NotFiniteError, match="weights of runs/own must be finite, and h.1.ln_1.b"):
        check_usable("runs/own", model)


def test_a_model_without_a_tokenizer_is_refused(model: GPT2) -> None:
    model.tokenizer = None

    with pytest.raises(InputError, match="has no tokenizer"):
        check_usable("tiny", model)


def test_a_model_is_opened_where_its_files_are_and_warmed_up(model: GPT2, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "tiny")
    config = ServeConfig(batch=3, cache_gb=0.001)

    opened = open_models({"small": str(tmp_path / "tiny")}, opener, config)

    directory, found, engine = opened["small"]
    assert directory == tmp_path / "tiny"
    assert found.config == model.config
    assert not engine.busy
    assert engine.load.cache_bytes > 0  # of the text that warmed it up
    assert engine.load.most_cache_bytes == min(3 * engine.runner.bytes_of(24), 1_000_000)


def test_the_tokenizer_is_loaded_whole_before_requests_come(model: GPT2, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)

    [(_, found, _)] = open_models({"small": str(tmp_path)}, opener, ServeConfig()).values()

    # What is compiled at the first long text would hold up all others then, for seconds.
    assert kernels.encode.signatures and kernels.decode.signatures  # type: ignore[attr-defined]
    assert found.require_tokenizer()._paths.codec is not None


def test_garbage_is_not_looked_for_in_what_was_loaded(model: GPT2, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)

    opened = open_models({"small": str(tmp_path)}, opener, ServeConfig())

    looked_through = set(map(id, gc.get_objects()))
    assert id(opened["small"].model.__dict__) not in looked_through
    assert id(opened["small"].engine.__dict__) not in looked_through


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(CheckpointError, match="empty"):
        open_models({"a": str(tmp_path / "empty")}, opener, ServeConfig())


def test_the_models_share_the_memory_for_their_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_bytes(ServeConfig(cache_gb=3.0), 2, CPU) == 1_500_000_000
    monkeypatch.setattr("gpt2.devices.memory", lambda device: 24_000)
    assert cache_bytes(ServeConfig(), 1, CPU) == 6000
    assert cache_bytes(ServeConfig(), 3, CPU) == 2000
    monkeypatch.setattr("gpt2.devices.memory", lambda device: None)
    assert cache_bytes(ServeConfig(), 1, CPU) is None


def served_models(model: GPT2, directories: list[Path]) -> ServedModels:
    async def serve_all() -> list[ServedModel]:
        return [
            serve_model(path.name, path, model, Engine(model), ServeConfig(), lambda *_: None)
            for path in directories
        ]

    models = ServedModels(asyncio.run(serve_all()))
    models.stop()
    return models


def test_a_model_is_found_by_its_name_and_the_first_without(model: GPT2) -> None:
    models = served_models(model, [Path("a"), Path("b")])

    assert models.find(None).name == "a"
    assert models.find("b").name == "b"
    with pytest.raises(ApiError, match="no model 'c'; this server has a, b") as caught:
        models.find("c")
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")


def test_the_runs_are_those_of_models_that_are_checkpoints(model: GPT2) -> None:
    run = Path("runs/demo/checkpoints")
    directories = [run / "step_00000100", Path("exported"), run / "step_00000200"]

    assert served_models(model, directories).runs == [Path("runs/demo")]


def test_the_whole_model_is_opened_once_when_it_is_asked_for(model: GPT2, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    [served] = served_models(model, [tmp_path])

    whole = served.whole()

    assert whole is served.whole()
    assert torch.equal(whole.wte.weight, model.wte.weight)


def test_files_that_have_gone_meanwhile_are_no_defect(model: GPT2, tmp_path: Path) -> None:
    [served] = served_models(model, [tmp_path / "gone"])

    with pytest.raises(ApiError, match="restart the server") as caught:
        served.whole()
    assert caught.value.status == 503


def test_the_opener_takes_the_memory(model: GPT2, monkeypatch: Any) -> None:
    size = Engine(model).runner.bytes_of(24)

    engine = opener("tiny").engine(model, 64, 2 * size)

    assert engine.load.most_cache_bytes == 2 * size
