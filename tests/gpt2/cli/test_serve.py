"""`gpt2 serve` as a process, and its flags."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Timer
from typing import IO, Any

import httpx
import pytest

from gpt2.cli.main import main
from gpt2.cli.parsing import UsageError
from gpt2.cli.serve import MissingExtraError, paths_by_name, require_extra, with_key
from gpt2.config import ServeConfig
from gpt2.files.pretrained import GPT2
from gpt2.serve.server import listen

MOST_SECONDS = 60.0
SERVE = (sys.executable, "-m", "gpt2", "serve")

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def directory(endless_model: GPT2, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "endless"
    endless_model.save_pretrained(path)
    return path


@pytest.fixture
def start(directory: Path) -> Iterator[Start]:
    """Start `gpt2 serve` on a free port; it never outlives the test, nor MOST_SECONDS."""
    processes = []

    def started(*flags: str, **environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [*SERVE, "--model", f"tiny={directory}", "--port", "0", *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        timer = Timer(MOST_SECONDS, process.kill)
        timer.start()
        processes.append((process, timer))
        return process

    yield started
    for process, timer in processes:
        timer.cancel()
        process.kill()
        process.communicate()


def line_of(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_streams_end_with_a_reason(start: Start, number: int) -> None:
    process = start("--grace", "0")
    url = line_of(process.stdout)
    body = {"prompt": [5], "max_tokens": 15_000, "stream": True}

    with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=MOST_SECONDS) as answer:
        pieces = answer.iter_text()
        first = next(pieces)
        process.send_signal(number)
        text = first + "".join(pieces)

    *_, last, done, _ = text.split("\n\n")
    assert done == "data: [DONE]"
    assert json.loads(last.removeprefix("data: "))["choices"][0]["finish_reason"] == "abort"
    out, err = process.communicate(timeout=MOST_SECONDS)
    assert process.returncode == 0
    assert out == ""  # the address was all
    assert "1 requests may go on for 0 s" in err
    assert "POST /v1/completions 200  prompts 1, tokens 1 in, " in err


def test_a_second_signal_ends_it_at_once(start: Start) -> None:
    process = start("--grace", "1000")
    url = line_of(process.stdout)
    body = {"prompt": [5], "max_tokens": 15_000, "stream": True}

    with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=MOST_SECONDS) as answer:
        pieces = answer.iter_text()
        next(pieces)
        process.terminate()
        while "stopping;" not in line_of(process.stderr):
            pass
        process.terminate()

        assert process.wait(MOST_SECONDS) == -signal.SIGTERM


def test_a_signal_while_models_are_loaded_ends_it_at_once(start: Start) -> None:
    process = start()
    while not line_of(process.stderr).startswith("loading tiny from "):
        pass
    process.terminate()

    out, _ = process.communicate(timeout=MOST_SECONDS)

    assert process.returncode == -signal.SIGTERM
    assert out == ""


def test_the_key_may_come_from_the_environment(start: Start) -> None:
    url = line_of(start(GPT2_API_KEY="secret").stdout)

    assert httpx.get(f"{url}/v1/models").status_code == 401
    answer = httpx.get(f"{url}/v1/models", headers={"Authorization": "Bearer secret"})
    assert [model["id"] for model in answer.json()["data"]] == ["tiny"]


def test_a_port_in_use_ends_it_with_one_line(directory: Path, capsys: Any) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", "--model", str(directory), "--port", port]) == 1

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: cannot listen on 127.0.0.1, port {port}: ")


def test_a_model_that_is_not_there_ends_it_with_one_line(tmp_path: Path, capsys: Any) -> None:
    assert main(["serve", "--model", str(tmp_path), "--port", "0"]) == 1

    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.splitlines()[-1].startswith("error: ")


def test_a_server_for_all_without_a_key_is_refused(
    capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GPT2_API_KEY", raising=False)

    assert main(["serve", "--host", "0.0.0.0"]) == 1

    assert "error: host must be 127.0.0.1 unless there is an API key" in capsys.readouterr().err


def test_several_models_are_given_by_the_same_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []

    async def serve(paths: dict[str, str], opener: Any, *_: object) -> None:
        taken.extend([paths, opener("x")])

    monkeypatch.setattr("gpt2.serve.server.serve", serve)

    flags = ["--model", "runs/demo", "--model=large=gpt2-large", "--dtype", "int8", "--threads=2"]
    assert main(["serve", *flags]) == 0

    paths, opened = taken
    assert paths == {"runs/demo": "runs/demo", "large": "gpt2-large"}
    assert (opened.model, opened.dtype, opened.threads) == ("x", "int8", 2)
    assert main(["serve"]) == 0
    assert taken[2] == {"gpt2": "gpt2"}


def test_other_flags_are_given_once(capsys: Any) -> None:
    assert main(["serve", "--port", "1", "--port", "2"]) == 2
    assert "--port is given twice" in capsys.readouterr().err


@pytest.mark.parametrize("models", [["a", "a=b"], ["=b"], ["a="], [""]])
def test_names_that_do_not_tell_models_apart_are_refused(models: list[str]) -> None:
    with pytest.raises(UsageError):
        paths_by_name(models)


def test_a_flag_wins_over_the_environment() -> None:
    given, none = ServeConfig(api_key="flag"), ServeConfig()

    assert with_key(given, "environment") == given
    assert with_key(none, "environment") == ServeConfig(api_key="environment")
    assert with_key(none, None) == with_key(none, "") == none


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    require_extra()
    monkeypatch.setattr("gpt2.cli.serve.find_spec", lambda name: None if name[0] == "p" else name)

    with pytest.raises(MissingExtraError, match="^gpt2 serve needs prometheus-client; pip install"):
        require_extra()
