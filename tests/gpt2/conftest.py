"""Servers on the loopback: one in place of the Hugging Face hub, and those of tiny models."""

import asyncio
import base64
import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
import torch

from gpt2.config import GPT2Config, ServeConfig
from gpt2.files.pretrained import GPT2
from llm_tokenizer import Tokenizer

if TYPE_CHECKING:
    from gpt2.serve.models import ServedModels
    from gpt2.serve.server import Server

HEAD = ("revision", "main")  # what is asked for where a path ends after the repository
COMMIT = "0123456789abcdef0123456789abcdef01234567"
# For a server to start or to end: the first compiles, on a machine that may be busy.
MOST_SECONDS = 300

GPU = pytest.param(
    "cuda",
    marks=[
        pytest.mark.cuda,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU"),
    ],
)
# cuBLAS adds up in a fixed order only with this, which torch reads once, at its first product.
# Source: "Reproducibility" in torch's documentation.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@pytest.fixture(params=["cpu", GPU])
def device(request: pytest.FixtureRequest) -> torch.device:
    """A GPU, where there is one; and the CPU, which shows that the test itself is right."""
    return torch.device(request.param)


@pytest.fixture(params=[GPU])
def gpu(request: pytest.FixtureRequest) -> torch.device:
    """A GPU, for what there is nowhere else."""
    return torch.device(request.param)


class Hub(ThreadingHTTPServer):
    """The few endpoints of the hub that downloads and pushes need, over a folder.

    Models lie in folder/owner/name, data sets in folder/datasets/owner/name.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.commit = COMMIT
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[str] = []  # files that were downloaded
        self.ranges: list[str] = []  # parts of files that were asked for
        self.tokens: list[str | None] = []  # of each request
        self.drops = 0  # downloads that end in the middle, before they work again
        self.large = 2**20  # bytes from which on a file is an LFS file
        self.owners = {"token": "someone"}  # whom a token may write for
        self.private: set[str] = set()  # repositories
        self.card_faults: list[str] = []  # what it finds in a card's metadata
        self.uploads: dict[str, bytes] = {}  # LFS files that are in no commit yet, by checksum
        self.commits: list[list[tuple[str, str]]] = []  # what was done to which file

    def handle_error(self, *args: object) -> None:
        """Say nothing of a client that has gone."""


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.tokens.append(self.headers["Authorization"])
        path = self.path.partition("?")[0].strip("/").split("/")
        # api/models|datasets/owner/name/revision|tree/REVISION
        # [datasets/]owner/name/resolve/REVISION/FILE
        api = path[0] == "api" and path.pop(0)
        root = self.server.folder
        if path[0] in ("models", "datasets"):
            root = root / "datasets" if path.pop(0) == "datasets" else root
        owner, name, kind, revision, *file_parts = path if len(path) > 2 else [*path, *HEAD]
        folder = root / owner / name
        if not folder.is_dir():
            return self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        if revision not in ("main", "refs%2Fconvert%2Fparquet", COMMIT):
            return self.answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        if api and kind == "revision":
            return self.answer_json(self.info(f"{owner}/{name}", folder))
        if api and kind == "tree":
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            return self.answer_json([self.described(file, folder) for file in files])
        if not (file := folder.joinpath(*file_parts)).is_file():
            return self.answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        return self.answer_file(file)

    def info(self, repository: str, folder: Path) -> dict[str, object]:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        siblings = [{"rfilename": file.relative_to(folder).as_posix()} for file in files]
        is_private = repository in self.server.private
        return {"id": repository, "sha": COMMIT, "private": is_private, "siblings": siblings}

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        owner = self.server.owners.get(
            (self.headers["Authorization"] or "").removeprefix("Bearer ")
        )
        if owner is None:
            reason = "Invalid credentials in Authorization header"
            return self.answer(401, b"", {"X-Error-Message": reason})
        match self.path.strip("/").split("/"):
            case ["api", "validate-yaml"]:
                faults = [{"message": fault} for fault in self.server.card_faults]
                self.answer_json({"errors": faults, "warnings": []}, 400 if faults else 200)
            case ["api", "repos", "create"]:
                self.make_repository(json.loads(body), owner)
            case ["api", "models", _, _, "preupload", "main"]:
                files = [self.upload_mode(file) for file in json.loads(body)["files"]]
                self.answer_json({"files": files})
            case [_, _, "info", "lfs", "objects", "batch"]:
                places = [self.upload_place(file) for file in json.loads(body)["objects"]]
                self.answer_json({"transfer": "basic", "objects": places})
            case ["api", "models", first, name, "commit", "main"]:
                self.commit(self.server.folder / first / name, map(json.loads, body.splitlines()))
            case _:
                self.answer(404, b"", {})

    def do_PUT(self) -> None:
        """Take an LFS file: PUT lfs/CHECKSUM."""
        content = self.read_body()
        assert hashlib.sha256(content).hexdigest() == self.path.rpartition("/")[2]
        self.server.uploads[self.path.rpartition("/")[2]] = content
        self.answer(200, b"", {})

    def read_body(self) -> bytes:
        """Return a body whose length is known, or one that is sent in chunks until an empty one."""
        if length := self.headers["Content-Length"]:
            return self.rfile.read(int(length))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def make_repository(self, wanted: dict[str, str], owner: str) -> None:
        name = f"{wanted['organization']}/{wanted['name']}"
        if wanted["organization"] != owner:
            return self.answer(403, b"", {"X-Error-Message": "You don't have the rights"})
        (self.server.folder / name).mkdir(parents=True)
        (self.server.folder / name / ".gitattributes").write_text("*.safetensors filter=lfs")
        if wanted.get("visibility") == "private":
            self.server.private.add(name)
        self.answer_json({"url": f"{self.server.url}/{name}"})

    def upload_mode(self, file: dict[str, str]) -> dict[str, object]:
        is_large = file["path"].endswith((".safetensors", ".png"))
        mode = "lfs" if is_large else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": None}

    def upload_place(self, file: dict[str, object]) -> dict[str, object]:
        place = {"href": f"{self.server.url}/lfs/{file['oid']}"}
        return {"oid": file["oid"], "size": file["size"], "actions": {"upload": place}}

    def commit(self, folder: Path, lines: Iterable[dict[str, Any]]) -> None:
        done = []
        for line in lines:
            kind, value = line["key"], line["value"]
            if kind == "file":
                (folder / value["path"]).write_bytes(base64.b64decode(value["content"]))
            elif kind == "lfsFile":
                (folder / value["path"]).write_bytes(self.server.uploads.pop(value["oid"]))
            elif kind == "deletedFile":
                (folder / value["path"]).unlink()
            done += [(kind, value["path"])] if kind != "header" else []
        self.server.commits.append(done)
        url = f"{self.server.url}/{folder.relative_to(self.server.folder)}/commit/{COMMIT}"
        self.answer_json({"commitUrl": url, "commitOid": COMMIT})

    def answer_file(self, file: Path) -> None:
        content = file.read_bytes()
        headers = {"ETag": f'"{self.tag(file)}"', "X-Repo-Commit": COMMIT}
        if self.command == "HEAD":
            return self.answer(200, content, headers)
        wanted = self.headers["Range"]
        start = int(re.findall(r"bytes=(\d+)-", wanted)[0]) if wanted else 0
        if wanted:
            self.server.ranges.append(wanted)
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        else:
            self.server.asked.append(file.name)
        if self.server.drops:
            self.server.drops -= 1
            self.close_connection = True
            headers["Content-Length"] = str(len(content) - start)
            half = content[start : start + (len(content) - start) // 2]
            return self.answer(206 if wanted else 200, half, headers)
        return self.answer(206 if wanted else 200, content[start:], headers)

    def described(self, file: Path, folder: Path) -> dict[str, object]:
        size, tag = file.stat().st_size, self.tag(file)
        lfs = {"oid": tag, "size": size, "pointerSize": 134} if self.is_large(file) else None
        path = file.relative_to(folder).as_posix()
        return {"type": "file", "path": path, "size": size, "oid": tag, "lfs": lfs}

    def tag(self, file: Path) -> str:
        content = file.read_bytes()
        if self.is_large(file):
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def is_large(self, file: Path) -> bool:
        return file.stat().st_size >= self.server.large

    def answer_json(self, content: object, status: int = 200) -> None:
        self.answer(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub(tmp_path / "hub") as server:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Served:
    """A server that runs."""

    url: str  # such as http://127.0.0.1:40123
    models: "ServedModels"
    server: "Server"


ServeWith = Callable[..., Served]


def small_model(tokenizer: Tokenizer, n_positions: int = 24) -> GPT2:
    """The `model` of tests/conftest.py, with any number of positions."""
    config = GPT2Config(vocab_size=300, n_positions=n_positions, n_embd=20, n_layer=3, n_head=4)
    model = GPT2(config, tokenizer=tokenizer, seed=1).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0)
    return model


@contextmanager
def serving(models: dict[str, GPT2], config: ServeConfig) -> Iterator[Served]:
    """Serve models, which are saved in a folder, while the context lasts."""
    started: Future[Served] = Future()
    with TemporaryDirectory() as folder:
        paths = {name: Path(folder) / name for name in models}
        for name, model in models.items():
            model.save_pretrained(paths[name])
        run = _serve(models, paths, config, started)
        thread = threading.Thread(target=lambda: asyncio.run(run), daemon=True)
        thread.start()
        served = started.result(MOST_SECONDS)
        try:
            yield served
        finally:
            served.server.stop()
            thread.join(MOST_SECONDS)
            assert not thread.is_alive()


async def _serve(
    models: dict[str, GPT2],
    paths: dict[str, Path],
    config: ServeConfig,
    started: Future[Served],
) -> None:
    from gpt2.generation.engine import Engine
    from gpt2.serve.app import make_app
    from gpt2.serve.loading import warm_up
    from gpt2.serve.models import ServedModels, serve_model
    from gpt2.serve.server import Loaded, Server

    server = Server(config)
    served: list[ServedModels] = []

    async def load() -> Loaded:
        engines = {name: Engine(model, most_texts=config.batch) for name, model in models.items()}
        for engine in engines.values():
            warm_up(engine)
        count = server.metrics.count_text
        known = ServedModels(
            [
                serve_model(name, paths[name], model, engines[name], config, count)
                for name, model in models.items()
            ]
        )
        served.append(known)
        app = make_app(known, server.metrics, config)
        return Loaded(app, known.end_texts, known.stop)

    def announce(url: str) -> None:
        started.set_result(Served(url, served[0], server))

    try:
        await server.run_until_stopped(load, announce)
    except BaseException as error:
        if not started.done():
            started.set_exception(error)
        raise


@pytest.fixture(scope="session")
def request_lines() -> Iterator[list[str]]:
    """The log's lines of requests.

    A server's thread writes them at any time; between tests they would be in pytest's own output.
    """
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gpt2.serve.middleware.request_log.log", lines.append)
        yield lines


@pytest.fixture(scope="session")
def served(tokenizer: Tokenizer, request_lines: list[str]) -> Iterator[Served]:
    """A server of the tiny model, named "tiny", that all tests share."""
    with serving({"tiny": small_model(tokenizer)}, ServeConfig(port=0, grace=1.0)) as served:
        yield served


@pytest.fixture
def serve_with(tokenizer: Tokenizer, request_lines: list[str]) -> Iterator[ServeWith]:
    """Start a server for this test alone.

    `serve_with(models={"name": model}, batch=2, ...)`: the tiny model if no models are given; all
    else is a setting of `ServeConfig`.
    """
    with ExitStack() as stack:

        def start(models: dict[str, GPT2] | None = None, **settings: object) -> Served:
            models = models or {"tiny": small_model(tokenizer)}
            config = ServeConfig(**{"port": 0, "grace": 1.0, **settings})  # type: ignore[arg-type]
            return stack.enter_context(serving(models, config))

        yield start


@pytest.fixture(scope="session")
def endless_model(tokenizer: Tokenizer) -> GPT2:
    """A tiny model with many positions, none of whose tokens ends a text."""
    model = small_model(tokenizer, n_positions=20_000)
    model.special_ids = {}
    return model
