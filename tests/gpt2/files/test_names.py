"""Models by name, through huggingface_hub's own client, from a server on the loopback."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

from gpt2.cli.main import main
from gpt2.errors import CheckpointError
from gpt2.files.names import locate
from gpt2.files.pretrained import GPT2
from gpt2.hub import snapshot

Hub = Any  # of conftest.py


def publish(hub_server: Hub, model: GPT2, repository: str) -> Path:
    directory = hub_server.folder / repository
    model.save_pretrained(directory)
    (directory / "README.md").write_text("not needed")
    return directory


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_a_model_is_downloaded_once_and_opens_offline_then(
    hub_server: Hub, model: GPT2, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(hub_server, model, "someone/fine-tune")
    first = GPT2.from_pretrained("someone/fine-tune")
    for name, tensor in model.state_dict().items():
        assert torch.equal(first.state_dict()[name], tensor), name
    assert first.tokenizer.fingerprint == model.tokenizer.fingerprint
    wanted = ["config.json", "generation_config.json", "merges.txt", "model.safetensors"]
    assert sorted(hub_server.asked) == [*wanted, "vocab.json"]

    GPT2.from_pretrained("someone/fine-tune", revision="main")
    assert len(hub_server.asked) == 5
    offline(monkeypatch)
    assert GPT2.from_pretrained("someone/fine-tune").config == model.config
    assert (
        GPT2.from_pretrained("someone/fine-tune", revision=hub_server.commit).config == model.config
    )


def test_the_short_names_are_those_of_the_released_models(hub_server: Hub, model: GPT2) -> None:
    publish(hub_server, model, "openai-community/gpt2-medium")
    assert GPT2.from_pretrained("gpt2-medium").config == model.config


def test_of_several_forms_of_the_weights_one_is_downloaded(hub_server: Hub, model: GPT2) -> None:
    directory = publish(hub_server, model, "someone/both")
    (directory / "pytorch_model.bin").write_bytes(b"never read")
    assert GPT2.from_pretrained("someone/both").config == model.config
    assert "pytorch_model.bin" not in hub_server.asked

    (directory / "model.safetensors").rename(directory / "model-00001-of-00001.safetensors")
    index = {"weight_map": {"any": "model-00001-of-00001.safetensors"}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    directory.rename(directory.with_name("sharded"))
    assert GPT2.from_pretrained("someone/sharded").config == model.config
    assert hub_server.asked.count("model-00001-of-00001.safetensors") == 1


@pytest.mark.parametrize(
    ("name", "revision", "told"),
    [
        ("someone/else", None, "'someone/else' is no repository on the Hugging Face hub"),
        ("someone/known", "v9", "'someone/known' has no revision 'v9'"),
        ("someone/empty", None, "'someone/empty' lacks weights in a form that is read here"),
        ("a/b/c", None, "wanted a local directory or a name on the Hugging Face hub"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(
    hub_server: Hub, model: GPT2, name: str, revision: str | None, told: str
) -> None:
    publish(hub_server, model, "someone/known")
    publish(hub_server, model, "someone/empty").joinpath("model.safetensors").unlink()
    with pytest.raises(CheckpointError) as raised:
        GPT2.from_pretrained(name, revision=revision)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_name_that_was_never_downloaded_is_told_offline(
    hub_server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline(monkeypatch)
    with pytest.raises(CheckpointError) as raised:
        locate("gpt2")
    assert "'openai-community/gpt2' is not in the cache" in str(raised.value)
    assert "give a local model directory" in str(raised.value)


def test_a_cache_without_the_weights_is_told_offline(
    hub_server: Hub, model: GPT2, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(hub_server, model, "someone/known")
    cached = locate("someone/known")
    (cached / "model.safetensors").resolve().unlink()
    (cached / "model.safetensors").unlink()
    offline(monkeypatch)
    with pytest.raises(CheckpointError, match="is not in the cache, or not all of it"):
        locate("someone/known")


@pytest.mark.parametrize("content", ["nothing", "other files", "a model", "a run"])
@pytest.mark.parametrize("name", ["gpt2", "gpt2-xl"])
def test_a_released_name_is_that_model_whatever_folder_has_its_name_here(
    name: str,
    content: str,
    hub_server: Hub,
    model: GPT2,
    gapped_model: GPT2,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish(hub_server, model, f"openai-community/{name}")
    (tmp_path / "work" / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    if content == "other files":
        Path(name, "notes.txt").write_text("text")
    if content == "a model":
        gapped_model.save_pretrained(name)
    if content == "a run":
        gapped_model.save_pretrained(f"{name}/checkpoints/step_00000001")
    assert GPT2.from_pretrained(name).config == model.config
    for here in (f"./{name}", Path(name), str(Path(name).resolve())):
        if content in ("a model", "a run"):
            assert GPT2.from_pretrained(here).config == gapped_model.config
        else:
            with pytest.raises(CheckpointError, match=f"{name}/config.json not found"):
                GPT2.from_pretrained(here)


def test_the_verbs_take_the_released_model_too(
    hub_server: Hub,
    model: GPT2,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    publish(hub_server, model, "openai-community/gpt2")
    publish(hub_server, model, "openai-community/gpt2-xl")
    (tmp_path / "work/gpt2").mkdir(parents=True)
    (tmp_path / "work/gpt2-xl").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    Path("text.txt").write_text("Permission")
    for args in (
        ["generate", "Permission", "--max-new-tokens", "1"],
        ["eval", "perplexity", "--data", "text.txt"],
        ["plot", "weights"],
        ["export", "--out", "copy"],
        ["generate", "Permission", "--model", "gpt2-xl", "--max-new-tokens", "1"],
    ):
        assert main(args) == 0, args
    assert GPT2.from_pretrained(Path("copy")).config == model.config
    capsys.readouterr()
    assert main(["generate", "a", "--model", "./gpt2"]) == 1
    assert "gpt2/config.json not found" in capsys.readouterr().err


def test_an_unreachable_hub_is_named_together_with_the_folder(
    hub_server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline(monkeypatch)
    (tmp_path / "work/gpt2").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(CheckpointError) as raised:
        locate("gpt2")
    told = str(raised.value)
    assert told.startswith("the directory of that name here is ./gpt2, and")
    assert "'openai-community/gpt2' is not in the cache" in told


def test_a_hub_that_takes_a_request_and_never_answers_is_left_after_the_time_limit(
    hub_server: Hub, model: GPT2, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(hub_server, model, "someone/fine-tune")
    directory = locate("someone/fine-tune")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.01)

        with pytest.raises(CheckpointError, match="'zzzz' is not in the cache, .* cannot be reach"):
            locate("zzzz")
        assert snapshot("someone/fine-tune", None, ["config.json"]) == directory  # of the cache


def test_a_file_is_no_model_and_is_not_asked_for_on_the_hub(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")
    with pytest.raises(CheckpointError, match="config.toml is a file; wanted the directory"):
        locate(str(tmp_path / "config.toml"))
