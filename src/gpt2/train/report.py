"""report.md and loss.png: what a run was and how it went, written when it ends."""

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from statistics import median

from gpt2 import devices
from gpt2.config import SETTINGS_FILE, RunConfig
from gpt2.files.run_directory import REPORT_FILE
from gpt2.train.evaluations import evaluations_table, read_evaluations
from gpt2.train.metrics import Row, read_metrics
from gpt2.train.normality.verdict import Verdict, judge
from gpt2.visual.images import write_image
from gpt2.visual.pictures.loss import loss_curves
from llm_tokenizer.atomic import write_whole

LOSS_FILE = "loss.png"
SECTION = "\n## "
# The first sections of a report, unless someone has put others before them.
OWN = NORMAL, EVALUATIONS = "Is this run normal?", "Evaluations"


def write_report(
    run: Path,
    *,
    sections: Sequence[str] = (),
    references: dict[str, float] | None = None,
    processes: int = 1,
) -> Verdict:
    """Write the report of a run from its settings and its metrics.

    Args:
        run: The run directory.
        sections: More sections, in Markdown, inserted before the settings.
        references: Horizontal lines for the loss picture, by label, in nats a token.
        processes: How many processes trained it.
    Returns:
        Whether the run is normal, as the report has it.
    """
    config = RunConfig.from_toml(run / SETTINGS_FILE)
    rows, verdict = read_metrics(run), judge(run)
    name = run.resolve().name
    curves = loss_curves({name: rows}, references=references, bands={name: verdict.band})
    write_image(curves.figure(), run / LOSS_FILE)
    parts = [
        "# Training run",
        f"![loss]({LOSS_FILE})",
        "\n".join(_summary(config, rows, processes, references or {})),
        *(f"## {section}" for section in _own_sections(run, verdict)),
        *sections,
        f"## Settings\n\n```toml\n{config.to_toml()}```",
    ]
    write_whole(run / REPORT_FILE, ("\n\n".join(parts) + "\n").encode())
    return verdict


def add_evaluations(run: Path) -> None:
    """Bring what depends on evaluations up to date in a run's report, and leave the rest.

    Without a report nothing is written: the run will have one when it ends.

    Args:
        run: The run directory.
    Raises:
        CheckpointError: A line of metrics.jsonl or evaluations.jsonl is damaged.
    """
    path = run / REPORT_FILE
    if not path.exists():
        return
    head, *sections = path.read_text(encoding="utf-8", errors="surrogateescape").split(SECTION)
    own = [f"{section}\n" for section in _own_sections(run, judge(run))]
    headings = [section.partition("\n")[0].rstrip() for section in sections]
    start = headings.index(NORMAL) if NORMAL in headings else 0
    end = start + len(list(takewhile(lambda heading: heading in OWN, headings[start:])))
    sections[start:end] = own
    write_whole(path, SECTION.join([head, *sections]).encode(errors="surrogateescape"))


def _own_sections(run: Path, verdict: Verdict) -> list[str]:
    """Return the sections that depend on evaluations.jsonl, without the marks of their headings."""
    sections = [f"{NORMAL}\n\n{verdict.to_markdown()}"]
    if rows := read_evaluations(run):
        sections.append(f"{EVALUATIONS}\n\n{evaluations_table(rows)}")
    return sections


def _summary(
    config: RunConfig,
    rows: Sequence[Row],
    processes: int,
    references: dict[str, float],
) -> list[str]:
    steps = [row for row in rows if row.get("loss") is not None]
    evaluations = [row for row in rows if "val_loss" in row]
    finite = [row for row in evaluations if row["val_loss"] is not None]
    if not steps or not finite:
        return ["The run has no rows of metrics with finite losses."]
    last, best = steps[-1], min(finite, key=lambda row: row["val_loss"])
    device = devices.describe(devices.select_device(config.training.device))
    of_processes = f"{processes} processes, each on " if processes > 1 else ""
    evaluated = evaluations[-1].get("evaluation_seconds")
    return [
        "| | |",
        "|---|---|",
        f"| steps | {rows[-1]['step']} of {config.training.steps} |",
        f"| steps skipped, not finite | {sum('skipped' in row for row in rows)} |",
        f"| tokens read | {_written(last.get('tokens'), ',')} |",
        f"| time in training steps | {_written(last.get('training_seconds'), '.0f', ' s')} |",
        f"| time in evaluations | {_written(evaluated, '.0f', ' s')}, {len(evaluations)} times |",
        f"| speed | {_speed(steps)} |",
        f"| hardware | {of_processes}{device}, {config.training.dtype} |",
        f"| training loss, last step | {_loss(last['loss'])} |",
        f"| held-out loss, last evaluation | {_loss(evaluations[-1]['val_loss'])} |",
        f"| held-out loss, best | {_loss(best['val_loss'])}, step {best['step']} |",
        *(f"| {name} | {_loss(loss)} |" for name, loss in references.items()),
    ]


def _speed(steps: Sequence[Row]) -> str:
    """Return the tokens a second of all steps, and the median MFU where it was measured."""
    tokens, seconds = steps[-1].get("tokens"), steps[-1].get("training_seconds")
    pace = tokens / seconds if tokens and seconds else None
    known = [row["mfu"] for row in steps if row.get("mfu") is not None]
    mfu = f", MFU {median(known):.2f}" if known else ""
    return _written(pace, ",.0f", " tokens/s") + mfu


def _loss(loss: float | None) -> str:
    return "not finite" if loss is None else f"{loss:.4f} nats/token"


def _written(value: float | None, form: str, unit: str = "") -> str:
    """Return a figure as text; rows of an older version may lack it."""
    return "unknown" if value is None else f"{value:{form}}{unit}"
