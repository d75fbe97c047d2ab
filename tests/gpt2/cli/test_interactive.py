"""`gpt2 generate --interactive`: turns, commands, line editing, and Ctrl-C."""

import os
import select
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpt2.cli import line_input
from gpt2.cli.interactive import Session
from gpt2.cli.line_input import history_file
from gpt2.cli.main import main
from gpt2.cli.streams import printable
from gpt2.config import GenerationConfig
from gpt2.errors import ConfigError, InputError
from gpt2.files.pretrained import GPT2
from gpt2.generation.engine import Engine
from gpt2.generation.generate import generate

CONFIG = GenerationConfig(max_new_tokens=4, temperature=0.0, ignore_end=True)
SECONDS_OF_PATIENCE = 120  # with a program that hangs
SEEDED = GenerationConfig(max_new_tokens=4, seed=7, ignore_end=True)


def session_of(model: GPT2, config: GenerationConfig) -> Session:
    return Session(model, Engine(model, most_texts=2), config, color=False, stats=False)


@pytest.fixture
def session(model: GPT2) -> Session:
    return session_of(model, CONFIG)


def continued(model: GPT2, ids: list[int], config: GenerationConfig = CONFIG) -> list[int]:
    return ids + generate(model, [ids], config)[0].ids


# Turns


def test_the_text_goes_on_from_all_that_was_written(session: Session, model: GPT2) -> None:
    assert model.tokenizer is not None
    session.take("The")
    first = continued(model, model.tokenizer.encode("The"))
    assert session.text == model.tokenizer.decode(first)
    session.take(" copy")
    second = continued(model, [*first, *model.tokenizer.encode(" copy")])
    assert session.text == model.tokenizer.decode(second)
    session.take("/more")
    assert session.text == model.tokenizer.decode(continued(model, second))


def test_a_line_begins_a_new_line_unless_white_space_is_in_front(session: Session) -> None:
    session.take("The")
    before = session.text
    session.take("copy")
    assert session.text.startswith(before + "\ncopy")
    before = session.text
    session.take(" right")
    assert session.text.startswith(before + " right")


def test_an_empty_line_does_nothing_and_more_starts_from_nothing(
    session: Session, model: GPT2
) -> None:
    session.take("")
    assert session.text == ""
    session.take("/more")
    assert session.text == generate(model, [""], CONFIG)[0].text


def test_undo_takes_back_a_turn_and_reset_all(session: Session) -> None:
    session.take("The")
    before = session.text
    session.take(" copy")
    session.take("/undo")
    assert session.text == before
    session.take("/undo")
    assert session.text == ""
    with pytest.raises(InputError, match="there is no turn to take back"):
        session.take("/undo")
    session.take("The")
    session.take("/reset")
    assert session.text == ""


def test_each_text_has_the_random_numbers_of_the_next_sample(model: GPT2) -> None:
    session = session_of(model, SEEDED)
    texts = []
    for _ in range(3):
        session.take("The")
        texts.append(session.text)
        session.take("/undo")
    several = GenerationConfig(max_new_tokens=4, seed=7, ignore_end=True, num_samples=3)
    assert texts == ["The" + sample.text for sample in generate(model, ["The"], several)]
    session.take("/set seed 7")
    session.take("The")
    assert session.text == texts[0]


def test_a_text_beyond_n_positions_goes_on(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(12):
        session.take("/more")
    told = "the text is longer than the model's 24 tokens: it went on from its latest 18\n"
    assert told in capsys.readouterr().err


def test_after_a_stop_string_the_text_goes_on_without_it(model: GPT2) -> None:
    session = session_of(model, CONFIG)
    session.take("The")
    stop = session.text[4]
    session.take("/reset")
    session.take(f"/set stop {stop}")
    session.take("The")
    assert session.text == generate_with_stop(model, stop)
    session.take("/set stop")
    before = session.text
    session.take(" a")
    assert model.tokenizer is not None
    ids = [*model.tokenizer.encode("The"), *model.tokenizer.encode(before.removeprefix("The"))]
    ids += model.tokenizer.encode(" a")
    assert session.text == before + " a" + generate(model, [ids], CONFIG)[0].text


def generate_with_stop(model: GPT2, stop: str) -> str:
    config = GenerationConfig(max_new_tokens=4, temperature=0.0, ignore_end=True, stop=(stop,))
    return "The" + generate(model, ["The"], config)[0].text


# Commands


@pytest.mark.parametrize(
    ("assignment", "name", "value"),
    [
        ("temperature 0.7", "temperature", 0.7),
        ("temperature=1", "temperature", 1.0),
        ("max-new-tokens = 5", "max_new_tokens", 5),
        ("top_k 3", "top_k", 3),
        ("top_k none", "top_k", None),
        ("stop ==", "stop", ("=",)),
        ("stop a b", "stop", ("a b",)),
        (r'stop "\n\n"', "stop", ("\n\n",)),
        (r'stop ["a", "\n"]', "stop", ("a", "\n")),
        ("stop 10", "stop", ("10",)),
        ("stop", "stop", ()),
        ("stop_ids 10", "stop_ids", (10,)),
        ('logit_bias {"5": -100}', "logit_bias", {5: -100.0}),
        ("logit_bias", "logit_bias", {}),
        ("draft off", "draft", False),
        ("ignore_end true", "ignore_end", True),
    ],
)
def test_settings_are_set_by_name(
    assignment: str, name: str, value: object, session: Session
) -> None:
    session.take(f"/set {assignment}")
    assert getattr(session.config, name) == value


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("", "wanted one of the settings max_new_tokens, temperature"),
        ("heat 3", "got 'heat'"),
        ("num_samples 3", "got 'num_samples'"),
        ("temperature hot", "temperature must be float, got 'hot'"),
        ("temperature -1", "temperature must be at least 0, got -1.0"),
        ("top_k 0", "top_k must be at least 1, got 0"),
        ("temperature", "temperature must be float, got ''"),
        ('logit_bias {"a": 1}', "each key of logit_bias must be int, got 'a'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(assignment: str, told: str, session: Session) -> None:
    with pytest.raises(ConfigError) as raised:
        session.take(f"/set {assignment}")
    assert told in str(raised.value)
    assert session.config == CONFIG


def test_settings_and_help_are_printed(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    session.take("/settings")
    lines = capsys.readouterr().out.splitlines()
    assert "max_new_tokens         4" in lines
    assert "stop                   []" in lines
    session.take("/help")
    printed = capsys.readouterr().out
    for command in ("more", "undo", "reset", "settings", "set", "save", "help", "quit"):
        assert f"  /{command} " in printed


def test_the_text_is_saved_and_no_other_file_replaced(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "a text.txt"
    session.take("Thé")
    session.take(f"/save {path}")
    assert path.read_text(encoding="utf-8") == session.text
    session.take("/more")
    session.take(f"/save {path}")
    assert path.read_text(encoding="utf-8") == session.text
    other = tmp_path / "other.txt"
    other.write_text("precious")
    for name, told in (
        (str(other), "is there already"),
        ("", "wanted a file"),
        (str(tmp_path / "no" / "where"), "cannot write"),
    ):
        with pytest.raises(InputError, match=told):
            session.take(f"/save {name}")
    assert other.read_text() == "precious"


def test_an_unknown_command_names_the_known_ones(session: Session) -> None:
    with pytest.raises(InputError, match="unknown command '/mor'; known: /more, /undo"):
        session.take("/mor")


# Over a pipe


def test_lines_of_a_pipe_are_turns(
    model: GPT2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model.save_pretrained(tmp_path)
    reading, writing = os.pipe()
    os.write(writing, b" copy\n/fly\n/set temperature=hot\n\na\\\nb\n/quit\nnever read\n")
    os.close(writing)
    command = ["generate", "The", "--interactive", "--model", str(tmp_path)]
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        flags = ["--temperature", "0", "--max-new-tokens", "4", "--ignore-end"]
        assert main([*command, *flags]) == 0
    captured = capsys.readouterr()
    session = session_of(model, CONFIG)
    for line in ("The", " copy", "a\nb"):
        session.take(line)
    assert captured.out == "The" + capsys.readouterr().out
    errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert ["unknown command" in errors[0], "must be float" in errors[1]] == [True, True]
    assert len(errors) == 2


# At a terminal


def test_the_history_is_where_xdg_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert history_file() == tmp_path / "gpt2" / "history"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")  # which the specification says to ignore
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert history_file() == tmp_path / ".local" / "state" / "gpt2" / "history"


def test_where_there_is_no_readline_lines_are_read_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "readline", None)
    assert line_input._readline() is None
    assert line_input.LineInput(None).interrupted_line() == ""


class Terminal:
    """gpt2 in a terminal of its own, driven as a person would."""

    def __init__(self, args: list[str], environment: dict[str, str]) -> None:
        import pty

        self.printed = b""
        self._process, self._descriptor = pty.fork()
        if self._process == 0:
            os.execve(sys.executable, [sys.executable, "-m", "gpt2", *args], environment)

    def until(self, awaited: str) -> None:
        """Wait for a text after all that was awaited before."""
        while (place := self.printed.find(awaited.encode())) < 0:
            block = self._read()
            assert block, f"wanted {awaited!r}, got {self.printed!r}"
            self.printed += block
        self.printed = self.printed[place + len(awaited.encode()) :]

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def interrupt_line_until(self, awaited: str) -> None:
        """Press Ctrl-C while a line is typed, again while Python misses it.

        Python does not see the signal until the next key if it comes after the prompt is shown and
        before it waits for keys, or while readline takes one.
        """
        for _ in range(SECONDS_OF_PATIENCE):
            self.type("\x03")
            while select.select([self._descriptor], [], [], 1)[0] and (block := self._read()):
                self.printed += block
                if awaited.encode() in self.printed:
                    return self.until(awaited)
        raise AssertionError(f"wanted {awaited!r}, got {self.printed!r}")

    def end(self) -> int:
        """Read all that is left, and return the exit code."""
        while block := self._read():
            self.printed += block
        os.close(self._descriptor)
        return os.waitstatus_to_exitcode(os.waitpid(self._process, 0)[1])

    def _read(self) -> bytes:
        if not select.select([self._descriptor], [], [], SECONDS_OF_PATIENCE)[0]:
            os.kill(self._process, signal.SIGKILL)
        try:
            return os.read(self._descriptor, 10_000)
        except OSError:  # Linux: the program has ended
            return b""


@pytest.fixture
def terminal(model: GPT2, tmp_path: Path) -> Iterator[Terminal]:
    model.save_pretrained(tmp_path / "model")
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path / "state"), "TERM": "dumb"}
    flags = ["--max-new-tokens", "4", "--ignore-end", "--seed", "1"]
    args = ["generate", "--interactive", "--model", str(tmp_path / "model"), *flags]
    yield Terminal(args, environment)


pytestmark_posix = pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals there")


@pytestmark_posix
def test_ctrl_c_clears_a_line_stops_a_text_and_never_ends_the_program(
    terminal: Terminal, tmp_path: Path, model: GPT2
) -> None:
    text = generate(model, ["The"], GenerationConfig(max_new_tokens=4, seed=1))[0].text
    how_to_quit = "Ctrl-D or /quit quits"
    terminal.until(how_to_quit)
    terminal.until("> ")
    terminal.type("half")
    terminal.until("half")
    terminal.interrupt_line_until("\r\n> ")  # nothing is told the first time
    terminal.interrupt_line_until(how_to_quit)
    terminal.until("> ")
    terminal.type("/set max_new_tokens 1000000000\n")
    terminal.until("> ")
    terminal.type("The\n")
    terminal.until("The\r")
    terminal.until(printable(text[:3]))
    terminal.type("\x03")
    terminal.until("\r\n> ")
    terminal.type("/save " + str(tmp_path / "text") + "\n")
    terminal.until("wrote ")
    terminal.until("> ")
    terminal.type("\x04")
    assert terminal.end() == 0
    assert (tmp_path / "text").read_text(encoding="utf-8").startswith("The")


@pytestmark_posix
def test_a_line_before_comes_back_by_arrow_and_from_the_history(
    terminal: Terminal, tmp_path: Path
) -> None:
    pytest.importorskip("readline")
    terminal.until("> ")
    terminal.type("/settings\n")
    terminal.until("max_new_tokens         4")
    terminal.until("> ")
    terminal.type("\x1b[A\x01#\x05\x7f\n")  # up, to the start, a sign, to the end, backspace
    terminal.until("> ")
    terminal.type("/quit\n")
    assert terminal.end() == 0
    history = (tmp_path / "state" / "gpt2" / "history").read_text().splitlines()
    assert history[-3:] == ["/settings", "#/setting", "/quit"]


@pytestmark_posix
def test_a_history_that_cannot_be_written_is_no_failure(model: GPT2, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "state").write_text("a file, not a folder")
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path / "state"), "TERM": "dumb"}
    args = ["generate", "--interactive", "--model", str(tmp_path / "model")]
    terminal = Terminal(args, environment)
    terminal.until("> ")
    terminal.type("/quit\n")
    assert terminal.end() == 0
    assert b"Traceback" not in terminal.printed
