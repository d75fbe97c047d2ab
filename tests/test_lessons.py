"""The lessons of docs/: their code runs, prints what they show, and is the code of the model."""

import ast
import importlib
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch

from gpt2.config import GPT2Config
from gpt2.files.pretrained import GPT2
from llm_tokenizer import Tokenizer

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ATTENTION = "attention-as-matrix-multiplication"
TOKENIZER = "tokenizer"
IN_ACTION = "gpt2-in-action"
NAMES = [ATTENTION, TOKENIZER, IN_ACTION]
PAGES = {name: (DOCS / f"{name}.md").read_text(encoding="utf-8") for name in NAMES}
LICENSE = (ROOT / "LICENSE").read_text(encoding="utf-8")
PAGE_PARTS = (ROOT / "src/gpt2/web/inside.js").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
LARGEST_FIGURE = 70_000  # bytes


@pytest.fixture(scope="module")
def lessons() -> Iterator[ModuleType]:
    """The script that remakes the lessons."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        yield importlib.import_module("lessons")


@pytest.fixture(scope="module")
def ran(lessons: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All lessons, run; the one of a trained model on a small one that has learned nothing."""
    place = tmp_path_factory.mktemp("lessons")
    tokenizer = Tokenizer.train([LICENSE], 400)
    config = GPT2Config(vocab_size=400, n_positions=128, n_embd=16, n_layer=2, n_head=2)
    GPT2(config, tokenizer=tokenizer, seed=1).save_pretrained(place / "runs/demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        return {name: lessons.run(page, f"{name}.md") for name, page in PAGES.items()}


@pytest.mark.parametrize("name", [ATTENTION, TOKENIZER])
def test_the_code_of_a_lesson_prints_what_the_page_shows(ran: dict[str, Any], name: str) -> None:
    assert ran[name].page == PAGES[name]


def test_the_blocks_that_print_are_those_with_output_whatever_model_they_run_on(
    lessons: ModuleType, ran: dict[str, Any]
) -> None:
    def shape(page: str) -> list[tuple[str | None, bool]]:
        return [(part["code"], part["output"] is None) for part in lessons.PART.finditer(page)]

    assert shape(ran[IN_ACTION].page) == shape(PAGES[IN_ACTION])


def test_the_last_step_about_attention_is_line_for_line_the_code_of_the_model(
    lessons: ModuleType,
) -> None:
    blocks = [part["code"] for part in lessons.PART.finditer(PAGES[ATTENTION]) if part["code"]]
    [block] = [block for block in blocks if "def manual_attention" in block]
    source = (ROOT / "src/gpt2/model/attention.py").read_text(encoding="utf-8")

    quoted, functions = functions_of(block), functions_of(source)

    assert list(quoted) == ["manual_attention", "forward", "project", "split_heads"]
    for name, lines in quoted.items():
        assert lines == functions[name]


def functions_of(code: str) -> dict[str, list[str]]:
    """Return the lines of functions and methods by name, dedented, without their docstrings."""
    found = {}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef):
            lines = code.splitlines()[: node.end_lineno]
            if ast.get_docstring(node):
                docstring = node.body[0]
                del lines[docstring.lineno - 1 : docstring.end_lineno]
            found[node.name] = textwrap.dedent("\n".join(lines[node.lineno - 1 :])).splitlines()
    return found


def test_a_docstring_is_left_out_of_a_quoted_method_and_its_comments_are_not() -> None:
    code = 'class A:\n    def f(self):\n        """Do.\n\n        So."""\n        return 1  # why\n'
    assert functions_of(code) == {"f": ["def f(self):", "    return 1  # why"]}


@pytest.mark.parametrize("text", [LICENSE, "aaaa aaa aa", "banana bandana", "naïve café, 🙂🙂"])
def test_training_in_a_few_lines_finds_the_merges_of_the_real_one(
    ran: dict[str, Any], text: str
) -> None:
    real = Tokenizer.train([text], 256 + 60, special_tokens=[]).vocabulary.merges
    assert len(real) >= 2
    assert ran[TOKENIZER].names["train"](text, len(real)) == list(real)


def test_training_takes_at_most_fifteen_lines() -> None:
    [code] = re.findall(r"^def train.*?^    return merges\n", PAGES[TOKENIZER], re.M | re.S)
    assert len(code.splitlines()) <= 15


def test_the_matrix_product_equals_the_loops_for_other_numbers(ran: dict[str, Any]) -> None:
    names = ran[ATTENTION].names
    q, k, v = 3 * torch.randn(3, 2, 3, 7, 5, generator=torch.Generator().manual_seed(3))
    loops = names["heads_by_loops"](names["attend_by_loops"], q, k, v)
    for step in (
        names["attend_all"](q, k, v, names["causal_mask"](7)),
        names["fused"](q, k, v),
    ):
        torch.testing.assert_close(step, loops)


def test_the_figures_are_those_of_the_lessons_and_the_readme_and_small(ran: dict[str, Any]) -> None:
    linked = [figure for lesson in ran.values() for figure in lesson.figures]
    linked += re.findall(r"docs/figures/([\w-]+)\.png", README)
    files = {path.stem: path.stat().st_size for path in (DOCS / "figures").iterdir()}
    assert sorted(files) == sorted(linked)
    assert max(files.values()) < LARGEST_FIGURE


def test_each_figure_is_drawn_from_the_names_at_its_place(ran: dict[str, Any]) -> None:
    figures = importlib.import_module("lesson_figures")
    drawn = {
        figure: figures.draw(figure, names)
        for lesson in ran.values()
        for figure, names in lesson.figures.items()
    }
    assert set(drawn) == set(figures.FIGURES)
    weights, vectors, averages = (
        axes.images[0].get_array() for axes in drawn["attention-average"].axes
    )
    assert weights[3].tolist()[:4] == [0.25] * 4 and bool(weights.mask[3, 4])
    assert averages[3].tolist() == [0.25, 0.25, 0.25, 0.0]
    assert vectors.sum() == 4
    rows = [label.get_text() for label in drawn["tokenizer-merges"].axes[0].get_yticklabels()]
    assert rows[:3] == ["bytes", "rank 0", "rank 5"] and len(rows) == 12
    for axes in drawn["action-temperature"].axes:
        assert sum(bar.get_width() for bar in axes.patches) == pytest.approx(1, abs=1e-5)
    assert not plt.get_fignums()


@pytest.mark.parametrize("name", NAMES)
def test_every_exercise_has_a_folded_answer(name: str) -> None:
    _, _, exercises = PAGES[name].partition("## Exercises")
    numbers = [int(n) for n in re.findall(r"^\*\*(\d)\.\*\*", exercises, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert 3 <= len(numbers) <= 5
    assert exercises.count("<details><summary>Answer</summary>\n\n") == len(numbers)
    assert exercises.count("\n\n</details>\n") == len(numbers)


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_files(name: str) -> None:
    links = re.findall(r"\]\(([\w./-]+)", PAGES[name])
    assert len(links) >= 3
    assert [link for link in links if not (DOCS / link).exists()] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_leads_to_parts_of_the_page_that_are_there(name: str) -> None:
    paragraphs = re.split(r"\n\n+", PAGES[name])
    [about_page] = [p for p in paragraphs if "`gpt2 gallery --model runs/demo" in p]
    parts = re.findall(r"^    title: \"(.+?)\"", PAGE_PARTS, re.M)
    named = [" ".join(words.split()) for words in re.findall(r"\*([A-Z].*?)\*", about_page, re.S)]
    assert named and set(named) <= set(parts)


@pytest.mark.parametrize("name", NAMES)
def test_the_page_names_each_lesson(name: str) -> None:
    assert f"docs/{name}.md" in PAGE_PARTS


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(1.4542, "1,454"), (0.0911, "91.1"), (0.00063, "0.63"), (4e-5, "0.040")],
)
def test_a_time_has_at_least_two_digits_that_count(
    lessons: ModuleType, seconds: float, written: str
) -> None:
    assert lessons.milliseconds(seconds) == written


def test_a_table_goes_between_its_markers(lessons: ModuleType) -> None:
    page = "a\n<!-- speed -->\nold\n<!-- end of speed -->\nb\n"
    expected = "a\n<!-- speed -->\nnew\n<!-- end of speed -->\nb\n"
    assert lessons.with_table(page, "speed", "new\n") == expected


def test_every_table_has_its_markers_and_where_it_was_measured(lessons: ModuleType) -> None:
    for marker in lessons.SPEEDS:
        [page] = [page for page in PAGES.values() if lessons.start_of(marker) in page]
        _, _, rest = page.partition(lessons.start_of(marker))
        table, _, _ = rest.partition(lessons.start_of(f"end of {marker}"))
        assert re.search(r"^`python docs/lessons.py`, .*, commit [0-9a-f]{7,}\.$", table, re.M)


def test_output_is_replaced_and_added(lessons: ModuleType) -> None:
    page = (
        "```python\nprint(1)\n```\n\n```text\n0\n```\n\n"
        "```python\nx = 2\n```\n\n```python\nprint(x)\n```\n"
    )
    assert lessons.run(page, "page").page == (
        "```python\nprint(1)\n```\n\n```text\n1\n```\n\n"
        "```python\nx = 2\n```\n\n```python\nprint(x)\n```\n\n```text\n2\n```\n"
    )


def test_an_error_names_the_line_of_the_page(lessons: ModuleType) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        lessons.run("a\n\n```python\nx = 1\n1 / 0\n```\n", "page.md")
    last = caught.traceback[-1]
    assert (str(last.path).endswith("page.md"), last.lineno + 1) == (True, 5)
