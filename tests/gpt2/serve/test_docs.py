"""docs/serving.md: its examples work as they stand there, also those for nginx and systemd."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx
import pytest

from gpt2.cli.main import main
from gpt2.config import ServeConfig
from gpt2.files.pretrained import GPT2
from gpt2.serve.server import Server, listen

Served = ServeWith = Any  # of conftest.py

PAGE = (Path(__file__).parents[3] / "docs" / "serving.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000"
MOST_SECONDS = 120.0
KEY = "a-key"


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


@pytest.fixture
def asked(serve_with: ServeWith, endless_model: GPT2) -> Served:
    return serve_with(models={"runs/demo": endless_model})


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_requests_by_curl(asked: Served) -> None:
    lines = blocks("sh")[0].replace("\\\n", " ").splitlines()
    assert len(lines) == 3

    answers = []
    for line in lines:
        command = [*shlex.split(line.replace(ADDRESS, asked.url)), "--silent", "--fail-with-body"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=MOST_SECONDS)
        assert done.returncode == 0, done.stdout
        answers.append(done.stdout)

    whole, streamed, tokens = answers
    assert json.loads(whole)["usage"]["completion_tokens"] == 20
    chunks = [json.loads(line[6:]) for line in streamed.split("\n\n")[:-2]]
    assert {chunk["choices"][0]["index"] for chunk in chunks} == {0, 1, 2, 3}
    assert json.loads(tokens)["count"] == len(json.loads(tokens)["tokens"])


def test_the_requests_by_the_openai_client(asked: Served, capsys: Any) -> None:
    pytest.importorskip("openai")
    [code] = blocks("python")

    exec(code.replace(ADDRESS, asked.url), {})

    assert re.search(r" 20\n.", capsys.readouterr().out, re.DOTALL)


def test_the_commands(model: GPT2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("runs/demo", "runs/demo/best"):
        model.save_pretrained(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    stop_when_ready(monkeypatch)
    commands = [line for block in blocks("") for line in block.splitlines()]
    assert len(commands) == 2

    for command in commands:
        assert main(shlex.split(command)[1:]) == 0


def stop_when_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let servers listen on free ports, and stop as soon as they are ready."""
    run = Server.run_until_stopped

    async def run_shortly(server: Server, load: Any, announce: Any) -> None:
        await run(server, load, lambda url: server.stop())

    monkeypatch.setattr(Server, "run_until_stopped", run_shortly)
    monkeypatch.setattr("gpt2.serve.server.listen", lambda host, port: listen(host, 0))


def test_every_setting_is_in_the_table_with_its_value() -> None:
    rows = dict(re.findall(r"^\| (`--.*?) \|.*\| (.*) \|$", PAGE, re.MULTILINE))
    for field in fields(ServeConfig):
        flag = f"`--{field.name.replace('_', '-')}`"
        [value] = [value for flags, value in rows.items() if flag in flags]
        if isinstance(field.default, int | float | str):
            assert f"{field.default:g}" in value if field.name != "host" else field.default in value


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    [unit] = blocks("ini")
    path = tmp_path / "gpt2.service"
    path.write_text(re.sub("ExecStart=[^ ]*", "ExecStart=/bin/true", unit), encoding="utf-8")

    done = subprocess.run(
        ["systemd-analyze", "verify", path], capture_output=True, text=True, timeout=MOST_SECONDS
    )

    assert "gpt2.service" not in done.stderr
    stop = int(re.findall(r"TimeoutStopSec=(\d+)", unit)[0])
    assert stop > ServeConfig().grace


@pytest.fixture
def behind_nginx(serve_with: ServeWith, endless_model: GPT2, tmp_path: Path) -> Iterator[Served]:
    """A server with a key, and the address of the page's nginx before it, without TLS."""
    if (nginx := shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")) is None:
        pytest.skip("nginx is not installed")
    served = serve_with(models={"tiny": endless_model}, api_key=KEY)
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    [block] = blocks("nginx")
    block = re.sub(r" *ssl_certificate.*\n", "", block)
    block = block.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
    block = block.replace(ADDRESS.removeprefix("http://"), served.url.removeprefix("http://"))
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in kinds)
    user = "user root;\n" if os.getuid() == 0 else ""
    path = tmp_path / "nginx.conf"
    path.write_text(
        f"{user}daemon off;\npid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{folders}{block}}}\n",
        encoding="utf-8",
    )
    process = subprocess.Popen([nginx, "-e", "stderr", "-c", path, "-p", tmp_path])
    try:
        wait_for(port, process)
        yield served, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(MOST_SECONDS)


def wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + MOST_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)


def test_through_nginx_tokens_come_one_by_one_and_a_client_that_leaves_ends_its_text(
    behind_nginx: Any,
) -> None:
    served, url = behind_nginx
    [model] = served.models
    headers = {"Authorization": f"Bearer {KEY}", "Host": "gpt2.example.org"}
    headers["Origin"] = "http://gpt2.example.org"  # that of the page, as nginx serves it
    body = {"prompt": [5], "max_tokens": 15_000, "stream": True}
    stream = httpx.stream(
        "POST", f"{url}/v1/completions", json=body, headers=headers, timeout=MOST_SECONDS
    )

    with stream as answer:
        pieces = answer.iter_text()
        assert next(pieces).startswith("data: {")
        assert model.worker.count == 1  # the text goes on: nothing has held back its first piece

    end = time.monotonic() + MOST_SECONDS
    while model.worker.count:
        assert time.monotonic() < end


def test_through_nginx_the_limits_hold(behind_nginx: Any) -> None:
    _, url = behind_nginx
    headers = {"Authorization": f"Bearer {KEY}"}

    assert httpx.get(f"{url}/v1/models").status_code == 401
    assert httpx.get(f"{url}/v1/models", headers=headers).status_code == 200
    assert httpx.get(url).headers["content-security-policy"].startswith("default-src 'none'")
    assert httpx.get(f"{url}/metrics", headers=headers).status_code == 403
    other = headers | {"Origin": "https://example.com"}
    assert httpx.get(f"{url}/v1/models", headers=other).status_code == 403
    big = httpx.post(
        f"{url}/v1/completions", headers=headers, content=b" " * 5_000_000, timeout=MOST_SECONDS
    )
    assert big.status_code == 413
