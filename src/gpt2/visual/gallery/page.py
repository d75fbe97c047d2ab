"""What is on the gallery page of a model? Its pictures, a few texts to look into, and its run."""

import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from gpt2.errors import NotFiniteError
from gpt2.files.pretrained import GPT2
from gpt2.progress import display
from gpt2.visual.gallery.colors import page_colors
from gpt2.visual.gallery.facts import model_facts, vocabulary
from gpt2.visual.gallery.inside import inside
from gpt2.visual.gallery.one_file import one_file
from gpt2.visual.gallery.pictures import drawings, picture_entry
from gpt2.visual.gallery.run import TrainingRun, run_history
from gpt2.visual.token_texts import token_ids
from llm_tokenizer.atomic import write_whole

# A sentence whose next token is a name in it (Wang et al. 2022, arXiv:2211.00593), and a program.
EXAMPLES = (
    "When Mary and John went to the store, John gave a drink to",
    "def add(a, b):\n    return a +",
)

Entry = dict[str, Any]


def write_gallery(
    model: GPT2,
    out: Path,
    *,
    name: str,
    texts: Sequence[str] = (),
    run: TrainingRun | None = None,
) -> None:
    """Write the gallery page of a model, atomically.

    Args:
        model: In float32 on the CPU, so that its numbers are true.
        out: HTML file to write.
        name: Of the model, as --model has it.
        texts: To look into; two examples if there are none.
        run: How its training went; None where that is not known.
    Raises:
        InputError: A text is empty or longer than the context, or the model has no tokenizer.
        NotFiniteError: A weight is not finite.
    """
    _check_finite(model, name)
    texts = texts or example_texts(model, run)
    for text in texts:
        token_ids(model, text)  # raises before there is any work
    history = None if run is None else run_history(run.moments, run.rows)
    page = {
        "model": model_facts(model, name),
        "command": shlex.join(["gpt2", "gallery", "--model", name, "--text", *texts]),
        "colors": page_colors(),
        "vocabulary": vocabulary(model),
        "texts": list(texts),
        "hasRun": history is not None,
    }
    work = [partial(picture_entry, drawing) for drawing in drawings(model, name, texts[0], run)]
    work += [partial(inside, model, text) for text in texts]
    done = _all_done(work)
    page["pictures"], looks = done[: -len(texts)], done[-len(texts) :]
    data = {"page": page, **{f"text-{i}": look for i, look in enumerate(looks)}}
    if history is not None:
        data["run"] = history
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, one_file("gallery.js", f"{name}: GPT-2 from the inside", data).encode())


def _all_done(work: Sequence[Callable[[], Entry]]) -> list[Entry]:
    """Return what each part of the work returns, and show on stderr how far it is."""
    started, done = perf_counter(), []
    with display(len(work), lambda count: f"{count:.0f}/{len(work)}") as shown:
        for part in work:
            done.append(part())
            shown.update(len(done), "pictures and texts of the page", perf_counter() - started)
    return done


def _check_finite(model: GPT2, name: str) -> None:
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise NotFiniteError(
            f"weights of {name} are not finite, so it computes nothing: its training has diverged; "
            "choose an earlier checkpoint"
        )


def example_texts(model: GPT2, run: TrainingRun | None = None) -> list[str]:
    """Return two texts to look into, cut to the context of a model: first that of its run, if any.

    They are two so that a page of 124M parameters with 32 moments takes less than 25 MB.
    """
    tokenizer, most = model.require_tokenizer(), model.config.n_positions
    texts = [tokenizer.encode(text) for text in EXAMPLES]
    if run is not None and run.moments:
        texts = [run.moments[-1].ids, *texts]
    return [tokenizer.decode(ids[:most]) for ids in texts[:2]]
