"""Models by name, through huggingface_hub's own client, from a server on the loopback."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from gpt2 import hub
from gpt2.errors import CheckpointError
from gpt2.pretrained import GPT2

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """The few endpoints of the Hugging Face hub that a download needs, over a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.asked: list[str] = []  # files that were downloaded


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET(with_body=False)

    def do_GET(self, with_body: bool = True) -> None:
        path = self.path.partition("?")[0].strip("/").split("/")
        if path[0] == "api":  # api/models/owner/name/revision|tree/REVISION
            owner, name, kind, revision = path[2:6]
        else:  # owner/name/resolve/REVISION/FILE
            owner, name, kind, revision = path[:4]
        folder = self.server.folder / owner / name
        if not folder.is_dir():
            return self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        if revision not in ("main", COMMIT):
            return self.answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        if kind == "revision":
            return self.answer_json({"id": f"{owner}/{name}", "sha": COMMIT, "siblings": []})
        if kind == "tree":
            return self.answer_json(
                [
                    {"type": "file", "path": f.name, "size": f.stat().st_size, "oid": tag(f)}
                    for f in sorted(folder.iterdir())
                ]
            )
        if not (file := folder / path[4]).is_file():
            return self.answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        if with_body:
            self.server.asked.append(file.name)
        headers = {"ETag": f'"{tag(file)}"', "X-Repo-Commit": COMMIT}
        return self.answer(200, file.read_bytes(), headers, with_body)

    def answer_json(self, content: object) -> None:
        self.answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def answer(
        self, status: int, body: bytes, headers: dict[str, str], with_body: bool = True
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body and self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def tag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub(tmp_path / "hub") as server:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        endpoint = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
        template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def publish(server: Hub, model: GPT2, repository: str) -> Path:
    directory = server.folder / repository
    model.save_pretrained(directory)
    (directory / "README.md").write_text("not needed")
    return directory


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_a_model_is_downloaded_once_and_opens_offline_then(
    server: Hub, model: GPT2, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(server, model, "someone/fine-tune")
    first = GPT2.from_pretrained("someone/fine-tune")
    for name, tensor in model.state_dict().items():
        assert torch.equal(first.state_dict()[name], tensor), name
    assert first.tokenizer.fingerprint == model.tokenizer.fingerprint
    wanted = ["config.json", "generation_config.json", "merges.txt", "model.safetensors"]
    assert sorted(server.asked) == [*wanted, "vocab.json"]

    GPT2.from_pretrained("someone/fine-tune", revision="main")
    assert len(server.asked) == 5
    offline(monkeypatch)
    assert GPT2.from_pretrained("someone/fine-tune").config == model.config
    assert GPT2.from_pretrained("someone/fine-tune", revision=COMMIT).config == model.config


def test_the_short_names_are_those_of_the_released_models(server: Hub, model: GPT2) -> None:
    publish(server, model, "openai-community/gpt2-medium")
    assert GPT2.from_pretrained("gpt2-medium").config == model.config


def test_of_several_forms_of_the_weights_one_is_downloaded(server: Hub, model: GPT2) -> None:
    directory = publish(server, model, "someone/both")
    (directory / "pytorch_model.bin").write_bytes(b"never read")
    assert GPT2.from_pretrained("someone/both").config == model.config
    assert "pytorch_model.bin" not in server.asked

    (directory / "model.safetensors").rename(directory / "model-00001-of-00001.safetensors")
    index = {"weight_map": {"any": "model-00001-of-00001.safetensors"}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    directory.rename(directory.with_name("sharded"))
    assert GPT2.from_pretrained("someone/sharded").config == model.config
    assert server.asked.count("model-00001-of-00001.safetensors") == 1


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
    server: Hub, model: GPT2, name: str, revision: str | None, told: str
) -> None:
    publish(server, model, "someone/known")
    publish(server, model, "someone/empty").joinpath("model.safetensors").unlink()
    with pytest.raises(CheckpointError) as raised:
        GPT2.from_pretrained(name, revision=revision)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_name_that_was_never_downloaded_is_told_offline(
    server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline(monkeypatch)
    with pytest.raises(CheckpointError) as raised:
        hub.locate("gpt2")
    assert "'openai-community/gpt2' is not in the cache" in str(raised.value)
    assert "give a local model directory" in str(raised.value)


def test_a_cache_without_the_weights_is_told_offline(
    server: Hub, model: GPT2, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(server, model, "someone/known")
    cached = hub.locate("someone/known")
    (cached / "model.safetensors").resolve().unlink()
    (cached / "model.safetensors").unlink()
    offline(monkeypatch)
    with pytest.raises(CheckpointError, match="is not in the cache, or not all of it"):
        hub.locate("someone/known")
