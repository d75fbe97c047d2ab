"""`gpt2 generate --interactive`: a text that a person and a model write by turns."""

import dataclasses
import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_origin

from gpt2.cli.line_input import LineInput, line_input
from gpt2.cli.parsing import one_line
from gpt2.cli.sample_output import PieceWriter, say_restarted
from gpt2.config import GenerationConfig
from gpt2.config.toml import typed
from gpt2.errors import ConfigError, InputError
from gpt2.files.pretrained import GPT2
from gpt2.generation.continuation import Continuation
from gpt2.generation.engine import Engine
from gpt2.generation.generate import prompt_ids
from gpt2.progress import log

SIGN, SIGN_WITHIN = "> ", ". "  # before a line, and before the next line of the same piece of text
HOW_TO_QUIT = "Ctrl-D or /quit quits; /help lists the commands"
ASSIGNMENT = re.compile(r"([\w-]+)(?:\s*=\s*|\s+|$)(.*)", re.DOTALL)
WORDS = {"none": None, "true": True, "false": False, "on": True, "off": False}
HELP = """\
A line that you type is added to the text, and the model goes on. The line begins a new line of the
text; with a space in front it goes on in the same one. A \\ at its end adds a line break, and waits
for more. Ctrl-C stops the model, Ctrl-D quits.

  /more              go on without new text
  /undo              take back the last turn
  /reset             begin a new text
  /settings          show how the model draws
  /set NAME VALUE    change it, such as /set temperature 0.7 or /set stop "\\n\\n"
  /save FILE         write the text to a new file
  /help              print this
  /quit              quit

With a seed, turn by turn the draws differ: text number n since the seed was set has the random
numbers of sample number n of gpt2 generate."""


@dataclass(frozen=True)
class State:
    """The text so far, and the tokens that the model reads of it."""

    text: str = ""
    ids: tuple[int, ...] = ()


class Session:
    """A text that goes on until its user quits.

    Args:
        engine: With room for two texts of n_positions tokens: what the last turn has computed
            serves the next one.
        config: How to draw, until it is changed.
        color: Show the tokens' probabilities.
        stats: Print tokens and seconds of each turn on stderr.
    """

    def __init__(
        self, model: GPT2, engine: Engine, config: GenerationConfig, *, color: bool, stats: bool
    ) -> None:
        self.config = config
        self._model = model
        self._tokenizer = model.require_tokenizer()
        self._engine = engine
        self._stats = stats
        self._writer = PieceWriter(color=color)
        self._stoppable = False  # whether Ctrl-C ends a text and not the program
        self._states = [State()]  # before each turn, and now
        self._drawn = 0  # texts since the seed was set
        self._saved: set[Path] = set()
        self._commands: dict[str, Callable[[str], None]] = {
            "more": lambda _: self.write(""),
            "undo": lambda _: self._undo(),
            "reset": lambda _: self._reset(),
            "settings": lambda _: self._show_settings(),
            "set": self._set,
            "save": self._save,
            "help": lambda _: print(HELP, flush=True),
        }

    @property
    def text(self) -> str:
        """All that was written so far."""
        return self._states[-1].text

    def run(self, opening: str | None) -> None:
        """Continue the opening, if there is one, and then what is typed, until the end of stdin."""
        with line_input() as lines:
            self._stoppable = lines.is_terminal
            if lines.is_terminal:
                log(HOW_TO_QUIT)
            if opening is not None:
                self._writer.plain(opening)
                self._try(lambda: self.write(opening))
            while (line := _next_piece(lines)) is not None and line.rstrip() != "/quit":
                self._try(lambda line=line: self.take(line))  # type: ignore[misc]

    def take(self, line: str) -> None:
        """Do what a line asks for: run a command, or add it to the text and go on.

        Raises:
            InputError: There is no such command, or it cannot be done.
            ConfigError: A setting is unknown, or its value does not fit.
        """
        if not line.startswith("/"):
            if line:
                self.write(_joined(self.text, line))
            return
        name, _, rest = line[1:].partition(" ")
        if name not in self._commands:
            known = ", ".join(f"/{known}" for known in [*self._commands, "quit"])
            raise InputError(
                f"unknown command {'/' + name!r}; known: {known}; a text that begins with / needs "
                "a space in front"
            )
        self._commands[name](rest.strip())

    def write(self, added: str) -> None:
        """Add to the text, and let the model go on."""
        before = self._states[-1]
        new = self._tokenizer.encode(added, allowed_special="all")
        ids = prompt_ids(self._model, [*before.ids, *new])
        text = self._engine.submit(ids, self.config, self._drawn)
        self._drawn += 1
        started = time.perf_counter()
        with self._stopped_by_ctrl_c(text):
            while text.finish_reason is None:
                self._engine.step()
                self._writer.update(text)
        self._writer.end()
        self._states.append(State(before.text + added + text.text, self._read_next(text)))
        self._tell(text, time.perf_counter() - started)

    def _try(self, turn: Callable[[], None]) -> None:
        """Take a turn; what its user can mend is one line, and the session goes on."""
        try:
            turn()
        except (ConfigError, InputError) as error:
            log(f"error: {one_line(str(error))}")
        except KeyboardInterrupt:  # between two texts
            if not self._stoppable:
                raise

    @contextmanager
    def _stopped_by_ctrl_c(self, text: Continuation) -> Iterator[None]:
        """Let Ctrl-C on a terminal end the text; whatever else ends it, the engine drops it."""

        def stop(*_: object) -> None:
            text.cancelled = True

        before = signal.signal(signal.SIGINT, stop) if self._stoppable else None
        try:
            yield
        finally:
            text.cancelled = True
            if self._stoppable:
                signal.signal(signal.SIGINT, before)

    def _read_next(self, text: Continuation) -> tuple[int, ...]:
        """Return the tokens of the text so far, or those that the model has kept of them."""
        if text.finish_reason == "stop":  # a part of the tokens is not in the text
            kept = self._tokenizer.encode(text.text, allowed_special="all")
            return (*text.prompt_ids, *kept)
        return tuple(text.context)

    def _tell(self, text: Continuation, seconds: float) -> None:
        if text.finish_reason == "end_of_text":
            log("(the model has ended the text; /more goes on)")
        if text.restarts:
            say_restarted(self._model)
        if self._stats:
            count = len(text.tokens)
            log(f"{count:,} tokens in {seconds:.2f} s, {count / seconds:.1f} tokens/s")

    def _undo(self) -> None:
        if len(self._states) == 1:
            raise InputError("there is no turn to take back")
        self._states.pop()
        log(f"the text ends with: {self.text[-60:]!r}" if self.text else "the text is empty")

    def _reset(self) -> None:
        self._states = [State()]
        log("the text is empty")

    def _show_settings(self) -> None:
        for name in _setting_types():
            print(f"{name:22} {json.dumps(getattr(self.config, name), ensure_ascii=False)}")

    def _set(self, assignment: str) -> None:
        name, value = _parsed(assignment)
        self.config = replace(self.config, **{name: value})
        if name == "seed":
            self._drawn = 0

    def _save(self, name: str) -> None:
        if not name:
            raise InputError("wanted a file: /save FILE")
        path = Path(name).expanduser()
        try:
            with path.open("w" if path in self._saved else "x", encoding="utf-8") as file:
                file.write(self.text)
        except FileExistsError:
            raise InputError(f"{path} is there already; choose another name") from None
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}") from None
        self._saved.add(path)
        log(f"wrote {len(self.text):,} characters to {path}")


def _next_piece(lines: LineInput) -> str | None:
    """Return the next line, with those that it goes on in after a backslash; None at the end."""
    hinted = False
    typed_before = ""
    while True:
        try:
            line = lines.read(SIGN_WITHIN if typed_before else SIGN)
        except EOFError:
            if lines.is_terminal:
                print(flush=True)
            return typed_before or None
        except KeyboardInterrupt:
            if not lines.is_terminal:
                raise
            print(flush=True)
            if hinted or not (typed_before or lines.interrupted_line()):
                log(HOW_TO_QUIT)
            hinted, typed_before = True, ""
            continue
        if not line.endswith("\\") or (line.startswith("/") and not typed_before):
            return typed_before + line
        typed_before += line[:-1] + "\n"


def _joined(text: str, line: str) -> str:
    """Return what a line adds to a text: it begins a new line, or with white space goes on."""
    begins_line = not text or text.endswith("\n")
    return line if begins_line or line[0].isspace() else "\n" + line


def _setting_types() -> dict[str, Any]:
    fields = dataclasses.fields(GenerationConfig)
    return {field.name: field.type for field in fields if field.name != "num_samples"}


def _parsed(assignment: str) -> tuple[str, Any]:
    """Return name and value of NAME VALUE or NAME=VALUE, the value in JSON or as plain text.

    Raises:
        ConfigError: The setting is unknown, or its value has another type.
    """
    found = ASSIGNMENT.fullmatch(assignment)
    name, text = (found[1].replace("-", "_"), found[2]) if found else (assignment, "")
    kinds = _setting_types()
    if name not in kinds:
        raise ConfigError(f"wanted one of the settings {', '.join(kinds)}; got {name!r}")
    return name, typed(name, _value(text, kinds[name]), kinds[name])


def _value(text: str, kind: Any) -> Any:
    """Return the value that a text stands for; of a list, its entry will do."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = WORDS.get(text.lower(), text)
    if get_origin(kind) is tuple and not isinstance(value, list):
        is_of_strings = str in get_args(kind)
        entry = text if is_of_strings and not isinstance(value, str) else value
        return [entry] if text else []
    if get_origin(kind) is dict:
        value = value if text else {}
    if isinstance(value, dict):  # JSON's keys are strings
        return {int(key) if key.isdecimal() else key: entry for key, entry in value.items()}
    return value
