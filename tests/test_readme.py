"""The README's commands and its example, run as they stand there, on a model of a smaller size."""

import glob
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from gpt2.cli import plot
from gpt2.cli.main import main
from gpt2.config import RECIPES
from gpt2.serve.server import Server, listen
from llm_tokenizer.cli import main as llm_tokenizer

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS = {"gpt2": main, "llm-tokenizer": llm_tokenizer}
# Two blocks, and two layers for 124 million parameters: what takes minutes takes seconds.
SMALLER = {
    "vocab_size = 4096": "vocab_size = 1024",
    "n_embd = 128": "n_embd = 32",
    "n_layer = 4": "n_layer = 1",
    "steps = 900": "steps = 30",
}
DATA = (ROOT / "docs/data.md").read_text(encoding="utf-8")
TRAINING = (ROOT / "docs/training.md").read_text(encoding="utf-8")
EVALUATION = (ROOT / "docs/evaluation.md").read_text(encoding="utf-8")
PICTURES = (ROOT / "docs/pictures.md").read_text(encoding="utf-8")
HELLASWAG = {
    "activity_label": "Baking",
    "ctx_a": "She takes the bread out.",
    "ctx_b": "she",
    "ctx": "She takes the bread out. she",
    "endings": ["cuts it.", "sings it.", "drops by.", "is a list."],
    "label": 0,
}
NEEDS_NETWORK = re.compile("--model gpt2 |fineweb-edu|tinyshakespeare")


def code_blocks(language: str, page: str = README) -> list[str]:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [text for found, text in blocks if found == language]


def commands(page: str = README) -> list[str]:
    """Return the commands of a page's code blocks, continued lines joined."""
    lines = "".join(code_blocks("", page)).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.split(" ")[0] in PROGRAMS]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the repository's sources and a smaller recipe, and a demo run in it."""
    place = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "src", place / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "README.md", place)
    recipe = (RECIPES / "demo.toml").read_text(encoding="utf-8")
    for large, small in SMALLER.items():
        assert large in recipe
        recipe = recipe.replace(large, small)
    (place / "recipes").mkdir()
    shutil.copy(RECIPES / "fine-tune.toml", place / "recipes")
    (place / "recipes/demo.toml").write_text(recipe, encoding="utf-8")
    return place


@pytest.fixture
def in_workplace(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the workplace the current folder, and its recipes the bundled ones."""
    monkeypatch.chdir(workplace)
    monkeypatch.setattr("gpt2.config.run.RECIPES", workplace / "recipes")
    return workplace


@pytest.fixture(autouse=True)
def servers_stop_when_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers listen on free ports, and stop as soon as they are ready."""
    run_until_stopped = Server.run_until_stopped

    async def run(server: Server, load: Any, announce: Any) -> None:
        await run_until_stopped(server, load, lambda url: server.stop())

    monkeypatch.setattr(Server, "run_until_stopped", run)
    monkeypatch.setattr("gpt2.serve.server.listen", lambda host, port: listen(host, 0))


def test_the_commands_and_the_example_work(
    in_workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [path.read_text(encoding="utf-8") for path in sorted(in_workplace.rglob("*.py"))]
    monkeypatch.setattr("gpt2.prepare.stdlib_docs.stdlib_docs", lambda: texts)
    assert main(["demo"]) == 0
    *_, outcome = capsys.readouterr().out.partition("## Is this run normal?\n\n")
    assert outcome.startswith("Nothing in its metrics is unusual. Of recipe demo no range is known")

    assert run(commands()) >= 10

    (example,) = code_blocks("python")
    capsys.readouterr()
    exec(example, {})
    assert len(capsys.readouterr().out) > 20


def run(lines: list[str]) -> int:
    """Run commands, those that need no network, and return how many."""
    here = [line for line in lines if not NEEDS_NETWORK.search(line)]
    for command in here:
        program, *args = shlex.split(command)
        assert PROGRAMS[program]([path for arg in args for path in expanded(arg)]) == 0, command
    return len(here)


def expanded(arg: str) -> list[str]:
    """Return what a shell makes of an argument; those with ** are in quotes on these pages."""
    found = [] if "**" in arg else sorted(glob.glob(arg))  # noqa: PTH207
    return found or [arg]


@pytest.mark.usefixtures("in_workplace")
def test_the_commands_about_data_work() -> None:
    assert run(commands(DATA)) >= 7


@pytest.mark.usefixtures("in_workplace")
def test_the_commands_about_training_work() -> None:
    assert run(commands(TRAINING)) >= 5


def test_the_commands_about_pictures_work(in_workplace: Path) -> None:
    if not (in_workplace / "runs/demo").exists():  # this test may run alone
        assert main(["demo"]) == 0
    assert run(commands(PICTURES)) >= 13


def test_every_picture_has_a_command_and_a_row() -> None:
    drawn = [command.split()[2] for command in commands(PICTURES) if "gpt2 plot " in command]
    assert set(drawn) == set(plot.PICTURES)
    assert set(re.findall(r"^\| `(\w+)", PICTURES, re.MULTILINE)) == set(plot.PICTURES)


def test_the_commands_about_evaluation_work(in_workplace: Path) -> None:
    if not (in_workplace / "runs/demo").exists():  # this test may run alone
        assert main(["demo"]) == 0
    write_evaluation_data(in_workplace)
    local = [
        line.replace("--model gpt2 ", "--model runs/demo ")
        for line in commands(EVALUATION)
        if "--data " in line
    ]
    assert run(local) == 5
    [log] = in_workplace.glob("runs/demo/evaluations.jsonl")
    names = [json.loads(line)["evaluation"] for line in log.read_text().splitlines()][-5:]
    assert names == ["perplexity", "hellaswag", "lambada", "lambada", "core"]


def write_evaluation_data(place: Path) -> None:
    """Write the files that docs/evaluation.md names, with a few rows."""
    (place / "book.txt").write_text("It was the best of times.", encoding="utf-8")
    (place / "hellaswag_val.jsonl").write_text(json.dumps(HELLASWAG), encoding="utf-8")
    (place / "lambada_test.jsonl").write_text('{"text": "the end of the list"}', encoding="utf-8")
    rows = place / "eval_bundle/eval_data"
    rows.mkdir(parents=True)
    task = {"label": "yes_no", "dataset_uri": "yes_no.jsonl", "num_fewshot": [1]}
    tasks = {"icl_tasks": [task | {"icl_task_type": "multiple_choice"}]}
    row = json.dumps({"query": "Is it a list?", "choices": ["yes", "no"], "gold": 0})
    (rows / "yes_no.jsonl").write_text(f"{row}\n{row}\n", encoding="utf-8")
    (rows.parent / "core.yaml").write_text(json.dumps(tasks), encoding="utf-8")  # which is YAML
    baselines = "Eval Task,Random baseline\nyes_no,50\n"
    (rows.parent / "eval_meta_data.csv").write_text(baselines, encoding="utf-8")


def test_only_commands_that_download_are_left_out() -> None:
    assert [
        command
        for page in (README, DATA, TRAINING, PICTURES)
        for command in commands(page)
        if NEEDS_NETWORK.search(command)
    ] == [
        """gpt2 generate "Hello, I'm a language model," --model gpt2 --num-samples 5 """
        "--dtype int8",
        "gpt2 prepare fineweb-edu --out data/fineweb-edu-10B",
        "gpt2 prepare fineweb-edu --out data/parts/03 --part 3/16",
        "gpt2 prepare tinyshakespeare --out data/shakespeare",
        "gpt2 train --recipe gpt2-124m-fineweb-edu",
    ]


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150
