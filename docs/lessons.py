"""Run the lessons' code, and remake what they show: its output, their figures, their speeds.

python docs/lessons.py [NAME ...]

It runs in the root of the repository, where `gpt2 demo` has made runs/demo. The blocks ```python of
a lesson run in order, in one namespace. What a block prints goes into the block ```text below it. A
figure is drawn from the names as they are at its place in the page, and a table of speeds goes
between its two markers. Measured is the time of one core, so that other programs matter little.
"""

import argparse
import contextlib
import io
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lesson_figures
import torch

from gpt2 import GPT2, GPT2Config, devices
from gpt2.visual.images import write_image

DOCS = Path(__file__).parent
LESSONS = ["attention-as-matrix-multiplication", "tokenizer", "gpt2-in-action"]
# A block of code with what it prints, or a figure's name.
PART = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?P<output>\n```text\n.*?^```\n)?"
    r"|\(figures/(?P<figure>[\w-]+)\.png\)",
    re.MULTILINE | re.DOTALL,
)
ROUNDS = 9  # times that each function is measured, in turn: the fastest counts
SHORTEST = 0.05  # seconds of a measurement: a short function runs many times

Namespace = dict[str, Any]
Table = list[tuple[str, list[str]]]  # rows: what is measured, and its cells


@dataclass
class Lesson:
    """A page whose code has run."""

    page: str = ""  # with what its code prints
    names: Namespace = field(default_factory=lambda: {"__name__": "lesson"})  # that it has set
    figures: dict[str, Namespace] = field(default_factory=dict)  # the names at each figure's place


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", default=LESSONS, help="(all)")
    chosen = parser.parse_args().names
    torch.set_num_threads(1)
    for name in chosen:
        path = DOCS / f"{name}.md"
        lesson = run(path.read_text(encoding="utf-8"), str(path))
        for figure, names in lesson.figures.items():
            write_image(lesson_figures.draw(figure, names), DOCS / "figures" / f"{figure}.png")
        page = lesson.page
        for marker, measure in SPEEDS.items():
            if start_of(marker) in page:
                page = with_table(page, marker, measure(lesson.names))
        path.write_text(page, encoding="utf-8")


def run(page: str, name: str) -> Lesson:
    """Run the code of a page, from the first block to the last.

    Args:
        page: Its Markdown.
        name: What errors call it.
    """
    lesson = Lesson()

    def replaced(part: re.Match[str]) -> str:
        if part["figure"]:
            lesson.figures[part["figure"]] = dict(lesson.names)
            return part[0]
        line = page.count("\n", 0, part.start("code"))
        printed = output("\n" * line + part["code"], name, lesson.names)  # errors name the line
        block = f"```python\n{part['code']}```\n"
        return block + (f"\n```text\n{printed}```\n" if printed else "")

    with torch.random.fork_rng(devices=[]), torch.set_grad_enabled(True):  # as before, afterwards
        lesson.page = PART.sub(replaced, page)
    return lesson


def output(code: str, name: str, names: Namespace) -> str:
    """Run code, and return what it prints, without spaces at the ends of lines."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, name, "exec"), names)
    return "".join(f"{line.rstrip()}\n" for line in printed.getvalue().splitlines())


def start_of(marker: str) -> str:
    """Return the line above a table."""
    return f"<!-- {marker} -->\n"


def with_table(page: str, marker: str, table: str) -> str:
    """Return a page with a table between its two markers."""
    before, start, rest = page.partition(start_of(marker))
    _, end, after = rest.partition(start_of(f"end of {marker}"))
    assert start and end, f"the page has no table {marker!r}"
    return f"{before}{start}{table}{end}{after}"


# Speeds ---------------------------------------------------------------------------------------


def speed_of_attention(names: Namespace) -> str:
    """Measure the steps of the lesson about attention, on random numbers."""
    rows, tokens, heads, channels = 4, 128, 4, 16
    torch.manual_seed(0)
    q, k, v = torch.randn(3, rows, heads, tokens, channels)
    x = torch.randn(tokens, heads * channels)
    mask = names["causal_mask"](tokens)
    steps: dict[str, Callable[[], object]] = {
        "average, two loops": lambda: names["average_by_loops"](x),
        "average, one product": lambda: names["average_by_product"](x),
        "average, softmax": lambda: names["average_by_softmax"](x),
        "one head, two loops": lambda: names["attend_by_loops"](q[0, 0], k[0, 0], v[0, 0]),
        "one head, two products": lambda: names["attend"](q[0, 0], k[0, 0], v[0, 0]),
        "16 heads, four loops": lambda: names["heads_by_loops"](names["attend_by_loops"], q, k, v),
        "16 heads, two loops over products": lambda: names["heads_by_loops"](
            names["attend"], q, k, v
        ),
        "16 heads, two products": lambda: names["attend_all"](q, k, v, mask),
        "16 heads, PyTorch's fused function": lambda: names["fused"](q, k, v),
    }
    table: Table = []
    loops: dict[str, float] = {}  # the first of its kind
    for name, seconds in measured(steps).items():
        slowest = loops.setdefault(name.split(",")[0], seconds)
        table.append((name, [milliseconds(seconds), f"{slowest / seconds:,.0f}"]))
    return as_markdown(["step", "milliseconds", "times as fast as its loops"], table)


def speed_of_writing(names: Namespace) -> str:
    """Measure one more token of a text, with and without a cache; of the demo and of the 124M."""
    sizes = {
        "the demo's model": (names["model"], [16, 64, 120]),
        "GPT-2 of 124 million": (GPT2(GPT2Config.preset("gpt2")).eval(), [64, 256, 1000]),
    }
    table: Table = []
    for name, (model, lengths) in sizes.items():
        for length in lengths:
            ids = torch.randint(0, model.config.vocab_size, (1, length))
            seconds = measured(dict(_next_token(names, model, ids)))
            cells = [milliseconds(taken) for taken in seconds.values()]
            table.append((f"{name}, token {length:,}", cells))
    return as_markdown(["milliseconds", "all tokens again", "the newest, with a cache"], table)


def _next_token(
    names: Namespace, model: GPT2, ids: torch.Tensor
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the two ways to the logits after the last of `ids`, (1, T)."""
    memory = names["Memory"](model.config.n_layer)
    with torch.inference_mode():
        model.hidden(ids[:, :-1], memory)
    parts = [(block.k, block.v) for block in memory.blocks]

    @torch.inference_mode()
    def again() -> None:
        model.logits(model.hidden(ids)[:, -1])

    @torch.inference_mode()
    def newest() -> None:
        for block, (k, v) in zip(memory.blocks, parts, strict=True):
            block.k, block.v = k, v
        model.logits(model.hidden(ids[:, -1:], memory)[:, -1])

    yield "again", again
    yield "newest", newest


def measured(functions: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return how many seconds of a core each function takes, in the fastest of its rounds."""
    repeats = {name: max(1, int(SHORTEST / _seconds(f, 1))) for name, f in functions.items()}
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(ROUNDS):
        for name, function in functions.items():
            seconds[name].append(_seconds(function, repeats[name]))
    return {name: min(each) for name, each in seconds.items()}


def _seconds(function: Callable[[], object], repeats: int) -> float:
    start = time.process_time()
    for _ in range(repeats):
        function()
    return (time.process_time() - start) / repeats


def milliseconds(seconds: float) -> str:
    """Return a time with two digits that count, or more."""
    value = 1000 * seconds
    places = next((n for n, least in enumerate((100, 10, 0.1)) if value >= least), 3)
    return f"{value:,.{places}f}"


def as_markdown(columns: list[str], table: Table) -> str:
    """Return a table, and where it was measured."""
    lines = [columns, ["---"] * len(columns), *([name, *cells] for name, cells in table)]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    )
    processor, _, _ = devices.describe(torch.device("cpu")).partition(",")
    where = (
        f"`python docs/lessons.py`, best of {ROUNDS} rounds, "
        f"one core of {processor}, torch {torch.__version__}, commit {commit.stdout.strip()}."
    )
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + f"\n{where}\n"


SPEEDS: dict[str, Callable[[Namespace], str]] = {
    "speed of attention": speed_of_attention,
    "speed of writing": speed_of_writing,
}

if __name__ == "__main__":
    main()
