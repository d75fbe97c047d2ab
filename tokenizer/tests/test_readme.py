"""The README's examples and commands, run as they stand there."""

import re
import shlex
from pathlib import Path

import pytest
import tiktoken

from llm_tokenizer import Tokenizer
from llm_tokenizer.cli import main

README = Path(__file__).parents[1] / "README.md"


def code_blocks(language: str) -> list[str]:
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for found, block in blocks if found == language]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that holds the README alone."""
    (tmp_path / "README.md").write_bytes(README.read_bytes())
    monkeypatch.chdir(tmp_path)


def test_the_examples_print_what_they_say(capsys: pytest.CaptureFixture[str]) -> None:
    examples, outputs = code_blocks("python"), code_blocks("text")
    assert len(examples) == len(outputs) == 2
    for example, output in zip(examples, outputs, strict=True):
        exec(example, {})
        assert capsys.readouterr().out == output


def test_the_commands_work() -> None:
    lines = "".join(code_blocks("")).splitlines()
    commands = [shlex.split(line) for line in lines if line.startswith("llm-tokenizer ")]
    assert len(commands) == 5
    for _program, *args in commands:
        assert main(args) == 0, args


def test_the_explanation_holds_what_is_shown_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = code_blocks("console")
    command, shown = block.removeprefix("$ llm-tokenizer ").split("\n", 1)
    assert main(shlex.split(command)) == 0
    assert f"\n{shown}\n" in capsys.readouterr().out


def test_the_swap_for_tiktoken_works_and_its_names_are_in_both(
    tiktoken_gpt2: tiktoken.Encoding,
) -> None:
    (swap,) = code_blocks("diff")
    lines = [line[1:] for line in swap.splitlines() if not line.startswith("-")]
    text = "Hello<|endoftext|>"
    names = {"text": text}
    exec("\n".join(lines), names)
    assert names["ids"] == tiktoken_gpt2.encode(text, allowed_special={"<|endoftext|>"})

    sentences = README.read_text(encoding="utf-8").split("These mean what they mean there: ")[1]
    alike = re.findall(r"`(\w+)`", sentences.split(". ")[0])
    assert len(alike) == 19
    for name in alike:
        assert hasattr(Tokenizer, name), name
        assert hasattr(tiktoken_gpt2, name), name
