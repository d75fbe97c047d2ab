"""The prompts of `gpt2 generate`: an argument, the lines of a file, or what comes on stdin."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpt2.cli.parsing import UsageError
from gpt2.errors import DataError

STDIN = "-"


@dataclass(frozen=True)
class Prompt:
    """What is to be continued."""

    content: Any  # a text or a list of token ids; of a file, whatever it holds
    source: str | None = None  # file and line, for errors
    entries: dict[str, Any] = field(default_factory=dict)  # of its JSON object


def read_prompt(argument: str) -> Prompt:
    """Return the prompt that an argument is; "-" stands for the whole text on stdin.

    One line break at the end of stdin is left out: `echo` and editors put it there.

    Raises:
        UsageError: stdin is a terminal, where nobody would know that it waits.
        TokenizerError: stdin is closed, or is not UTF-8.
    """
    if argument != STDIN:
        return Prompt(argument)
    if sys.stdin is not None and sys.stdin.isatty():
        raise UsageError(
            'wanted a prompt: gpt2 generate "Some text", --file FILE, a text on stdin, or '
            "--interactive"
        )
    return Prompt(_read(None).removesuffix("\n"))


def read_prompts(path: Path) -> list[Prompt]:
    """Return the prompts of a file, one a line; blank lines are left out.

    Args:
        path: "-" for stdin. With a name that ends in .jsonl, each line is a JSON object whose
            "prompt" is a text or a list of token ids.
    Raises:
        DataError: There is no prompt, or a line is no such object.
        TokenizerError: The file cannot be read, or is not UTF-8.
    """
    name = "stdin" if str(path) == STDIN else str(path)
    text = _read(None if str(path) == STDIN else path)
    lines = [
        (f"{name}, line {number}", line)
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]
    if not lines:
        raise DataError(f"{name} is empty: wanted a prompt a line")
    if path.suffix == ".jsonl":
        return [_from_json(source, line) for source, line in lines]
    return [Prompt(line, source) for source, line in lines]


def _read(path: Path | None) -> str:
    from llm_tokenizer.text_files import read_text  # --help needs none of it

    return read_text(path).replace("\r\n", "\n")


def _from_json(source: str, line: str) -> Prompt:
    try:
        entries = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source} must be a JSON object: {error}") from None
    if not isinstance(entries, dict) or "prompt" not in entries:
        raise DataError(f'{source} must be a JSON object with a "prompt", got {line:.60}')
    return Prompt(entries["prompt"], source, entries)
