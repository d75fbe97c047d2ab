"""`gpt2 generate`: prompts in, samples out, and what stops it."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest
import torch

from gpt2.cli.main import main
from gpt2.cli.token_colors import colored
from gpt2.config import GenerationConfig
from gpt2.files.pretrained import GPT2
from gpt2.generation.generate import generate
from gpt2.model.quantized import quantize_network

GREEDY = GenerationConfig(max_new_tokens=6, temperature=0.0, ignore_end=True)
FLAGS = ["--max-new-tokens", "6", "--temperature", "0", "--ignore-end"]
ENDLESS = ["--max-new-tokens", str(10**9), "--ignore-end", "--seed", "1"]

Run = Callable[..., str]


@pytest.fixture
def directory(model: GPT2, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def run(directory: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run gpt2 generate with a small model; return what it prints on stdout."""

    def run(*args: str) -> str:
        code = main(["generate", *args, "--model", str(directory)])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return captured.out

    return run


def program(directory: Path, *args: str) -> list[str]:
    return [sys.executable, "-m", "gpt2", "generate", *args, "--model", str(directory)]


def pipe_in(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


def greedy(model: GPT2, prompt: str) -> str:
    return prompt + generate(model, [prompt], GREEDY)[0].text


# Prompts


@pytest.mark.parametrize("args", [[], ["-"]])
@pytest.mark.parametrize(
    ("content", "prompt"),
    [
        (b"The copy\n", "The copy"),
        (b"The copy\r\n", "The copy"),
        (b"The\ncopy\n\n", "The\ncopy\n"),
        (b"", ""),
    ],
)
def test_the_text_on_stdin_is_one_prompt_without_its_last_line_break(
    args: list[str],
    content: bytes,
    prompt: str,
    model: GPT2,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipe_in(monkeypatch, content)
    assert run(*args, *FLAGS) == greedy(model, prompt) + "\n"


def test_no_prompt_at_a_terminal_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe_in(monkeypatch, b"")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    assert main(["generate"]) == 2
    told = capsys.readouterr().err
    assert told.startswith('error: wanted a prompt: gpt2 generate "Some text", --file FILE')
    assert told.count("\n") == 1


def test_a_special_token_in_an_argument_is_that_token(model: GPT2, run: Run) -> None:
    assert model.tokenizer is not None
    ids = [model.tokenizer.eot_token, *model.tokenizer.encode("a")]
    expected = generate(model, [ids], GREEDY)[0].text
    assert run("<|endoftext|>a", *FLAGS) == f"<|endoftext|>a{expected}\n"


def test_a_file_has_a_prompt_a_line(
    model: GPT2, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes("The copy\r\n\nall é\n".encode())
    expected = f"{greedy(model, 'The copy')}\n---\n{greedy(model, 'all é')}\n---\n"
    assert run("--file", str(path), *FLAGS) == expected
    pipe_in(monkeypatch, path.read_bytes())
    assert run("--file", "-", *FLAGS) == expected


def test_json_lines_have_texts_or_ids_and_their_other_entries_come_back(
    model: GPT2, run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "The\\ncopy", "number": 7, "text": "old"}\n\n{"prompt": [1, 2]}\n')
    first, second = map(json.loads, run("--file", str(path), "--json", *FLAGS).splitlines())
    assert (first["prompt"], first["number"]) == ("The\ncopy", 7)
    assert "The\ncopy" + first["text"] == greedy(model, "The\ncopy")
    assert second["prompt"] == [1, 2]
    assert second["ids"] == generate(model, [[1, 2]], GREEDY)[0].ids
    assert model.tokenizer is not None
    assert model.tokenizer.decode([1, 2]) in run("--file", str(path), *FLAGS)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "is empty: wanted a prompt a line"),
        ("\n{", "line 2 must be a JSON object: "),
        ('["a"]', 'line 1 must be a JSON object with a "prompt", got ["a"]'),
        ('{"text": "a"}', 'line 1 must be a JSON object with a "prompt"'),
        ('{"prompt": 3}', "line 1: a prompt must be a text or a list of token ids, got int"),
        ('{"prompt": [300]}', "line 1: token ids must be whole numbers from 0 to 299, got 300"),
    ],
)
def test_a_file_without_proper_prompts_is_one_line(
    content: str, told: str, directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(content)
    assert main(["generate", "--file", str(path), "--model", str(directory)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"error: {path}" in captured.err
    assert told in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["a", "--file", "b"], "wanted one of --file and a prompt, got both"),
        (["--interactive", "--file", "b"], "wanted one of --file and --interactive, got both"),
        (["--interactive", "--json"], "wanted one of --json and --interactive, got both"),
        (["a", "--color", "--json"], "wanted one of --json and --color, got both"),
        (["--interactive", "--num-samples", "2"], "--interactive writes one text"),
        (["a", "--threads", "0"], "threads must be at least 1, got 0"),
        (["a", "--dtype", "int2"], "invalid choice 'int2'"),
    ],
)
def test_flags_that_do_not_go_together_are_one_line(
    args: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", *args]) == 2
    captured = capsys.readouterr()
    assert told in captured.err
    assert captured.err.count("\n") == 1


# Output


def test_samples_come_in_order_and_the_first_is_that_of_one_alone(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["a", "--max-new-tokens", "3", "--seed", "1"]
    alone = json.loads(run(*flags, "--json"))
    several = [
        json.loads(line) for line in run(*flags, "--num-samples", "40", "--json").splitlines()
    ]
    assert several[0]["ids"] == alone["ids"]
    assert len({tuple(sample["ids"]) for sample in several}) > 1
    monkeypatch.setattr("gpt2.cli.sample_output.MOST_TEXTS", 3)
    monkeypatch.setattr("gpt2.cli.sample_output.MOST_UNPRINTED", 4)
    few = [json.loads(line) for line in run(*flags, "--num-samples", "40", "--json").splitlines()]
    assert [sample["ids"] for sample in few] == [sample["ids"] for sample in several]


def test_a_json_object_tells_all_about_its_sample(model: GPT2, run: Run) -> None:
    flags = ["a", "--json", *FLAGS, "--top-log-probabilities", "2"]
    sample = json.loads(run(*flags))
    assert model.tokenizer is not None
    assert sample["text"] == model.tokenizer.decode(sample["ids"])
    assert sample["finish_reason"] == "length"
    assert [pairs[0] for pairs in sample["likeliest"]] == [
        pytest.approx(pair) for pair in zip(sample["ids"], sample["log_probabilities"], strict=True)
    ]  # greedy
    assert sample["tokens_per_second"] == pytest.approx(6 / sample["seconds"])
    assert sample["restarts"] == 0
    assert "likeliest" not in json.loads(run(*flags[:-2]))


def test_a_text_longer_than_the_model_says_by_which_rule_it_went_on(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["generate", "a", "--model", str(directory), "--ignore-end", "--max-new-tokens"]
    assert main([*command, "23"]) == 0
    assert capsys.readouterr().err == ""
    assert main([*command, "60"]) == 0
    told = "the text is longer than the model's 24 tokens: it went on from its latest 18\n"
    assert capsys.readouterr().err == told


def test_figures_are_told_on_stderr_if_asked_for(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["generate", "a", "--model", str(directory), *FLAGS, "--stats"]
    assert main(command) == 0
    assert capsys.readouterr().err.startswith("6 tokens in ")
    assert main([*command, "--num-samples", "2"]) == 0
    assert capsys.readouterr().err.startswith("2 texts, 12 tokens in ")


def test_colors_follow_the_probability_and_leave_line_breaks_alone() -> None:
    red, green = "\x1b[30;48;5;203m", "\x1b[30;48;5;113m"
    assert colored("a\n\nb", 0.001) == f"{red}a\x1b[0m\n\n{red}b\x1b[0m"
    assert colored("\n", 0.001) == "\n"
    assert colored("a", 0.8) == colored("a", 1.0) == f"{green}a\x1b[0m"
    scale = {colored("a", p) for p in (0.0, 0.01, 0.05, 0.2, 0.5, 0.8)}
    assert len(scale) == 6


def test_colored_text_is_the_text_with_colors(run: Run, model: GPT2) -> None:
    printed = run("a", "--color", *FLAGS)
    plain, *parts = printed.split("\x1b[30;48;5;")
    texts = [part.partition("m")[2].replace("\x1b[0m", "") for part in parts]
    assert plain == "a"
    assert "".join([plain, *texts]) == greedy(model, "a") + "\n"


def test_a_terminal_gets_no_control_characters_of_the_model_but_colors(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["\x1b[2Ja", "--max-new-tokens", "20", "--seed", "1"]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    printed = run(*flags)
    assert printed.startswith("\\x1b[2Ja")
    assert all(c.isprintable() or c in "\n\t" for c in printed)
    colored_text = run(*flags, "--color")
    assert set(filter(lambda c: not c.isprintable(), colored_text)) <= {"\x1b", "\n", "\t"}


# Precision


def test_a_dtype_is_the_precision_of_the_weights(
    model: GPT2, run: Run, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[torch.dtype | None] = []
    from_pretrained = GPT2.from_pretrained

    def noting(*args: object, **options: object) -> GPT2:
        opened.append(options["dtype"])  # type: ignore[arg-type]
        return from_pretrained(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(GPT2, "from_pretrained", noting)
    flags = ["a", "--max-new-tokens", "20", "--temperature", "0", "--json", "--dtype"]
    found = {
        dtype: json.loads(run(*flags, dtype))["log_probabilities"]
        for dtype in ("auto", "float32", "bfloat16", "float16", "int8", "int4")
    }
    assert opened == [None, None, None, torch.float16, None, None]
    assert found["auto"] == found["float32"]
    assert len({tuple(values) for values in found.values()}) == 5
    quantize_network(model, 8)
    model.save_pretrained(directory)
    assert json.loads(run(*flags, "int8"))["ids"] == json.loads(run(*flags, "auto"))["ids"]


def test_threads_change_nothing_but_the_time(run: Run) -> None:
    before = torch.get_num_threads()
    try:
        assert run("a", *FLAGS, "--threads", "1") == run("a", *FLAGS, "--threads", "2")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_network_itself_does_not_quantize(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--model", str(directory), "--attention", "manual", "--dtype"]
    assert main(["generate", "a", *flags, "int8"]) == 1
    assert "int8 weights are for flash attention" in capsys.readouterr().err
    for dtype in ("float32", "bfloat16", "float16"):
        assert main(["generate", "a", *FLAGS, *flags, dtype]) == 0


# What stops it


posix = pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")


@posix
def test_a_reader_that_has_enough_ends_an_endless_text(directory: Path) -> None:
    for flags in ([], ["--num-samples", str(10**14), "--json"]):
        endless = ENDLESS if not flags else ["--max-new-tokens", "2", *flags]
        with subprocess.Popen(
            program(directory, "a", *endless), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as running:
            assert running.stdout is not None
            assert running.stderr is not None
            assert len(running.stdout.read(100)) == 100
            running.stdout.close()
            assert running.stderr.read() == b""
            assert running.wait() == 1


def ended_by(number: int, running: "subprocess.Popen[bytes]") -> tuple[bytes, bytes]:
    """Send a signal, again where Python misses it, and return what is left to read."""
    for _ in range(5):
        running.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return running.communicate(timeout=10)
    running.kill()
    raise AssertionError("wanted the program to end")


@posix
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -15)])
def test_a_signal_in_the_middle_of_a_text_leaves_what_is_written(
    number: int, code: int, directory: Path
) -> None:
    with subprocess.Popen(
        program(directory, "The copy", *ENDLESS), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        begun = os.read(running.stdout.fileno(), 8)  # written before the text has ended
        rest, errors = ended_by(number, running)
    assert running.returncode == code
    assert (begun + rest).startswith(b"The copy")
    assert errors == b""


@posix
def test_a_ctrl_c_at_a_terminal_ends_the_line(directory: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    with subprocess.Popen(
        program(directory, "The copy", *ENDLESS), stdout=theirs, stderr=subprocess.PIPE
    ) as running:
        os.close(theirs)
        blocks = [os.read(ours, 8)]
        reader = Thread(target=lambda: blocks.extend(iter(lambda: _read(ours), b"")))
        reader.start()
        ended_by(signal.SIGINT, running)
        reader.join()
        assert running.returncode == 130
    os.close(ours)
    printed = b"".join(blocks)
    assert printed.startswith(b"The copy")
    # Where colorama is installed, as by lm_eval, Numba has it reset the colors at the end.
    assert printed.removesuffix(b"\x1b[0m").endswith(b"\r\n")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 10_000)
    except OSError:  # Linux: the other side is closed
        return b""


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full here")
def test_a_full_disk_is_one_line(directory: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            program(directory, "a", *FLAGS), stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot write to stdout: ")
    assert done.stderr.count("\n") == 1
