"""The README's commands and its example, run as they stand there, on a model of a smaller size."""

import glob
import re
import shlex
import shutil
from pathlib import Path

import pytest

from gpt2.cli.main import main
from llm_tokenizer.cli import main as llm_tokenizer

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS = {"gpt2": main, "llm-tokenizer": llm_tokenizer}
# Two blocks, and two layers for 124 million parameters: what takes minutes takes seconds.
SMALLER = {
    "vocab_size = 4096": "vocab_size = 1024",
    "n_embd = 256": "n_embd = 32",
    "n_layer = 4": "n_layer = 1",
    "steps = 900": "steps = 30",
}
NEEDS_NETWORK = "--model gpt2 "


def code_blocks(language: str) -> list[str]:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for found, text in blocks if found == language]


def commands() -> list[str]:
    """Return the commands of the README's code blocks, continued lines joined."""
    lines = "".join(code_blocks("")).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.split(" ")[0] in PROGRAMS]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the repository's sources and a smaller recipe, and a demo run in it."""
    place = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "src", place / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "README.md", place)
    recipe = (ROOT / "recipes/demo.toml").read_text(encoding="utf-8")
    for large, small in SMALLER.items():
        assert large in recipe
        recipe = recipe.replace(large, small)
    (place / "recipes").mkdir()
    (place / "recipes/demo.toml").write_text(recipe, encoding="utf-8")
    return place


def test_the_commands_and_the_example_work(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [path.read_text(encoding="utf-8") for path in sorted(workplace.rglob("*.py"))]
    monkeypatch.setattr("gpt2.data.stdlib_docs.stdlib_docs", lambda: texts)
    monkeypatch.chdir(workplace)
    assert main(["demo"]) == 0

    ran = 0
    for command in commands():
        if NEEDS_NETWORK in command:
            continue
        program, *args = shlex.split(command)
        expanded = [path for arg in args for path in (sorted(glob.glob(arg)) or [arg])]  # noqa: PTH207
        assert PROGRAMS[program](expanded) == 0, command
        ran += 1
    assert ran >= 10

    of_model, of_tokenizer = code_blocks("python")
    capsys.readouterr()
    exec(of_model.replace("step_00000900", "step_00000030"), {})
    assert len(capsys.readouterr().out) > 20
    exec(of_tokenizer, {})
    assert capsys.readouterr().out == code_blocks("text")[-1]


def test_only_commands_that_download_are_left_out() -> None:
    assert [c for c in commands() if NEEDS_NETWORK in c] == [
        """gpt2 generate "Hello, I'm a language model," --model gpt2 --num-samples 5"""
    ]


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150
