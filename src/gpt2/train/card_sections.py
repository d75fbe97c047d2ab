"""The sections of a model card that a run's files fill: data, training, evaluations, settings."""

import math
import posixpath
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpt2.config.toml import toml_text
from gpt2.data.manifest import Manifest
from gpt2.data.shards import SPLITS
from gpt2.evaluate.meanings import MEANINGS
from gpt2.train.card_facts import CardFacts
from gpt2.train.changes import describe_changes
from gpt2.train.evaluations import figures_of
from gpt2.train.metrics import Row

PATHS = ("directory", "init_from", "reference", "hellaswag")  # settings that may be local paths
PEAK = "published for a GPU, measured for a CPU"

KNOWN_SOURCES = {  # of gpt2.prepare.sources, those that are on no hub
    "stdlib-docs": (
        "The documentation that ships with Python: the topics of the language reference, and the "
        "docstrings of the standard library."
    ),
    "tinyshakespeare": (
        "[Tiny Shakespeare](https://github.com/karpathy/char-rnn/tree/master/data/tinyshakespeare)."
    ),
}


def data_section(facts: CardFacts) -> list[str]:
    """Return the parts of the section about the data; none if they are unknown."""
    if not facts.manifests:
        return []
    lines = ["| | documents | tokens | bytes of UTF-8 |", "|---|---|---|---|"]
    for split, label in zip(SPLITS, ("training", "held out"), strict=True):
        shards = [shard for manifest in facts.manifests for shard in manifest.of(split)]
        counts = [
            sum(shard.documents for shard in shards),
            sum(shard.tokens for shard in shards),
            sum(shard.bytes for shard in shards),
        ]
        lines.append(f"| {label} | " + " | ".join(f"{count:,}" for count in counts) + " |")
    times = f"The run read its training tokens {facts.state.tokens / facts.train_tokens:.2f} times"
    if facts.config.data.train_tokens:
        times += f", the first {facts.train_tokens:,} of them alone"
    return ["## Data", _source(facts.manifests), "\n".join(lines), times + "."]


def _source(manifests: Sequence[Manifest]) -> str:
    """Return where the texts are from, without the names of anybody's own files."""
    source, revision = manifests[0].source, manifests[0].revision
    files = {file.name: file.bytes for manifest in manifests for file in manifest.inputs}
    count = f"{len(files):,} file{'s' * (len(files) != 1)} of {sum(files.values()):,} bytes"
    if revision:
        link = f"[{source}](https://huggingface.co/datasets/{source})"
        folder = posixpath.commonpath([posixpath.dirname(name) for name in files])
        return f"{link} at commit `{revision[:12]}`: {count} in `{folder or '.'}`."
    return KNOWN_SOURCES.get(source, f"Local: {count}.")


def training_section(facts: CardFacts) -> str:
    """Return a table of what the run has taken, and of its loss at the checkpoint."""
    state = facts.state
    speed = state.tokens / state.training_seconds if state.training_seconds else None
    mfu = f"; MFU, median: {facts.mfu:.2f} of the peak, {PEAK}" if facts.mfu is not None else ""
    evaluation = facts.last_evaluation
    changes = [
        f"{describe_changes(row['changed'])} (after step {row['step']:,})"
        for row in facts.rows
        if "changed" in row
    ]
    rows = {
        "steps": f"{state.step:,} of {facts.config.training.steps:,}",
        "steps skipped, not finite": f"{facts.skipped:,}" if facts.skipped else None,
        "settings changed on the way": "; ".join(changes) or None,
        "tokens read": f"{state.tokens:,}",
        "time in training steps": _duration(state.training_seconds),
        "time in evaluations": _duration(state.evaluation_seconds),
        "speed": f"{speed:,.0f} tokens/s{mfu}" if speed else None,
        "hardware at the end of the run": facts.hardware,
        "versions": ", ".join(f"{name} {version}" for name, version in state.versions.items()),
        "held-out loss": _held_out(facts, evaluation) if evaluation else None,
    }
    return table(rows)


def _duration(seconds: float) -> str:
    hours = f", {seconds / 3600:,.1f} hours" if seconds >= 3600 else ""
    return f"{seconds:,.0f} s{hours}"


def _held_out(facts: CardFacts, row: Row) -> str:
    """Return the held-out loss, and how it was measured."""
    loss, length = row["val_loss"], facts.config.model.n_positions
    if loss is None:
        return "not finite: the weights have diverged"
    tokens = f"{row['val_tokens']:,} " if row.get("val_tokens") is not None else ""
    return (
        f"{loss:.4f} nats/token, a perplexity of {math.exp(min(loss, 700)):.4g}: of the first "
        f"{tokens}held-out tokens, in rows of {length:,} that do not see each other; both depend "
        "on the tokenizer"
    )


def evaluations_section(facts: CardFacts) -> list[str]:
    """Return the section about evaluations of the checkpoint; none if there were none."""
    parts = [part for row in facts.evaluations for part in _evaluation(row)]
    row = facts.last_evaluation or {}
    if row.get("hellaswag_acc") is not None:
        parts += _hellaswag(facts, row)
    if not parts:
        return []
    about = "Of this checkpoint; ± is one standard error."
    if any(known for row in facts.evaluations for known in row.get("references", {}).values()):
        about += (
            " What is published of others was measured on the whole public data set: compare only "
            "figures of the same data."
        )
    return ["## Evaluations", about, *parts]


def _evaluation(row: Row) -> list[str]:
    """Return the parts about a row: what was measured, how, on how much, and the figures."""
    names = [
        f"{_file_name(path)} (sha256 {str(digest)[:8]})" for path, digest in row.get("data", [])
    ]
    data = f": {names[0]}" + f" and {len(names) - 1} more" * (len(names) > 1) if names else ""
    figures = figures_of(row)
    counts = [
        f"{key} {value:,}"
        for key, value in row.items()
        if type(value) is int and key not in ("step", *figures)
    ]
    notes = [note for note in row.get("notes") or () if isinstance(note, str)]
    lines = [*([", ".join(counts)] if counts else []), *notes]
    known = any(row.get("references", {}).get(name) for name in figures)
    header = ["figure", "this model", *["published, of others"] * known]
    rows = [[name, _figure(row, name), *[_others(row, name)] * known] for name in figures]
    parts = [
        f"### {cell(row['evaluation'])}{data}",
        MEANINGS.get(row["evaluation"], ""),
        "\n".join(f"- {cell(line)}" for line in lines),
        "\n".join([_row(header), _row(["---"] * len(header)), *map(_row, rows)]),
    ]
    return [part for part in parts if part]


def _hellaswag(facts: CardFacts, row: Row) -> list[str]:
    """Return the parts about what was measured while the run trained."""
    rows = facts.config.evaluation.hellaswag_rows
    which = f"the first {rows:,} rows" if rows else "all rows"
    return [
        "### hellaswag, while it trained",
        f"Of {which}, as build-nanogpt and llm.c measure it: the context as it is; `acc` by the "
        "fewest nats of an ending, `acc_norm` by the fewest nats a token.",
        table(
            {"acc": _number(row["hellaswag_acc"]), "acc_norm": _known(row, "hellaswag_acc_norm")}
        ),
    ]


def _figure(row: Row, name: str) -> str:
    error = row.get("standard_errors", {}).get(name)
    return _number(row[name]) + ("" if error is None else f" ± {_number(error)}")


def _others(row: Row, name: str) -> str:
    known = row.get("references", {}).get(name, {})
    return ", ".join(f"{model} {_number(value)}" for model, value in known.items())


def _known(row: Row, name: str) -> str | None:
    value = row.get(name)
    return None if value is None else _number(value)


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4g}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(cell, cells)) + " |"


def settings_section(facts: CardFacts) -> str:
    """Return the settings of the checkpoint as TOML, local paths without their folders."""
    sections = []
    for section, values in facts.state.settings.items():
        lines = [f"{key} = {toml_text(_without_folders(key, v))}" for key, v in values.items()]
        sections.append("\n".join([f"[{section}]", *lines, ""]))
    return "\n".join(sections)


def _without_folders(key: str, value: Any) -> Any:
    return Path(value).name if key in PATHS and is_path(value) else value


def is_path(name: str) -> bool:
    """Return whether a name in the settings of a run is a path: they are absolute there."""
    return Path(name).is_absolute()


def _file_name(path: str) -> str:
    return cell(Path(path).name)


def table(rows: Mapping[str, str | None]) -> str:
    """Return a table in Markdown of those rows that are known."""
    known = [f"| {name} | {cell(value)} |" for name, value in rows.items() if value is not None]
    return "\n".join(["| | |", "|---|---|", *known])


def cell(text: str) -> str:
    """Return a text as Markdown that shows it as it is, within a line and a cell of a table."""
    return " ".join(re.sub(r"[\\`*<\[|]", r"\\\g<0>", text).split())
