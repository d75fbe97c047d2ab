"""Speed of lm-eval's tasks by `gpt2 eval harness`, beside lm-eval's own `hf`, in one run.

python benchmarks/harness.py [--tasks hellaswag,lambada_openai,wikitext] [--rows 32] [--rounds 3]

The model is the released 124M with random weights. Rows are cut from the documentation of Python,
as long as those of the data sets; both run the harness's own tasks over them. `hf` runs with its
default, a row a pass, and with more.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import lm_eval
import torch
import transformers
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from gpt2 import devices
from gpt2.config import GPT2Config
from gpt2.evaluate.harness import HarnessModel, as_result
from gpt2.evaluate.scoring import Scorer
from gpt2.files.pretrained import GPT2
from gpt2.prepare.stdlib_docs import stdlib_docs
from llm_tokenizer import Tokenizer

BATCH_SIZES = (1, 8, 16)  # of `hf`; 1 is its default
OURS = "gpt2-from-scratch"
WORDS_OF_LAMBADA = 75  # of a passage; Paperno et al. 2016, arXiv:1606.06031
WORDS_OF_PAGE = 4000  # 245 thousand in the 62 pages of the test part of WikiText-2

Rows = list[dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", default="hellaswag,lambada_openai,wikitext", help="(all three)")
    parser.add_argument("--rows", type=int, default=32, help="rows a task; pages: a 16th (32)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (3)")
    options = parser.parse_args()

    transformers.logging.set_verbosity_error()
    devices.keep_freed_memory()  # for both: `gpt2 eval` does, and `hf` gains from it, too
    device = devices.select_device()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = open_models(folder / "model", device)
        for task in options.tasks.split(","):
            write_task(folder, task, options.rows)
            manager = TaskManager(include_path=name, include_defaults=False)
            compare(task, manager.load([task]), models, options.rounds)
    if peak := devices.peak_flops(device, torch.float32):
        print(f"peak of float32 products: {peak / 1e9:.0f} GFLOP/s")


def open_models(folder: Path, device: torch.device) -> dict[str, Any]:
    """Return the same model by this package, and by transformers with several batch sizes."""
    ours = GPT2(GPT2Config(), tokenizer=Tokenizer.gpt2(), seed=0).eval()
    ours.save_pretrained(folder)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(folder).to(device)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    peers = {
        f"hf, batch size {size}": HFLM(pretrained=theirs, tokenizer=tokenizer, batch_size=size)
        for size in BATCH_SIZES
    }
    return {OURS: HarnessModel(Scorer(ours.to(device)))} | peers


def compare(name: str, task: Any, models: dict[str, Any], rounds: int) -> None:
    """Print how many rows a second each model answers, and the ratios to ours."""
    seconds: dict[str, list[float]] = {model: [] for model in models}
    figures: dict[str, dict[str, float]] = {}
    rows = 0
    for _ in range(rounds):
        for model, answers in models.items():  # in turn: a slow moment of the machine hits all
            start = time.perf_counter()
            found = lm_eval.evaluate(answers, task, bootstrap_iters=0, log_samples=False)
            seconds[model].append(time.perf_counter() - start)
            result = as_result(found | {"lm_eval_version": ""})
            figures[model], rows = result.figures, sum(result.counts.values())
    print(f"{name}, {rows} rows, medians of {rounds}:", flush=True)
    for model, times in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(times, seconds[OURS], strict=True))
        pairs = [(value, figures[OURS][key]) for key, value in figures[model].items()]
        apart = max(abs(a - b) / max(abs(b), 1) for a, b in pairs)
        print(
            f"  {model:20} {rows / statistics.median(times):8.2f} rows/s  ours: x {ratio:.2f}"
            f"  figures differ by {apart:.1e}",
            flush=True,
        )


def write_task(folder: Path, name: str, rows: int) -> None:
    """Write a task as lm-eval has it, but for its rows."""
    parent, split, row = TASKS[name]
    words = endless_words()
    count = rows // 16 or 1 if name == "wikitext" else rows
    lines = [json.dumps(row(words)) for _ in range(count)]
    file = folder / f"{name}.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    installed = Path(lm_eval.__file__).parent / "tasks" / parent / f"{name}.yaml"
    about = {
        "include": str(installed),
        "task": name,
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {
            "data_files": {split: str(file)},
            "cache_dir": str(folder / "cache"),
        },
        "training_split": None,
        "validation_split": None,
        f"{split}_split": split,
        "num_fewshot": 0,
    }
    (folder / f"{name}.yaml").write_text(json.dumps(about))


def hellaswag(words: Iterator[str]) -> dict[str, Any]:
    """Return a row: a context of 20 to 80 words, and four endings of 10 to 40."""
    draw = random.Random(next(words))
    endings = [text(words, draw.randint(10, 40)) for _ in range(4)]
    context = text(words, draw.randint(20, 80))
    about = {"activity_label": text(words, 2), "ctx_b": "", "label": "0"}
    return about | {"ctx_a": context, "endings": endings}


def lambada(words: Iterator[str]) -> dict[str, Any]:
    """Return a row: a passage whose last word is to be found."""
    return {"text": text(words, WORDS_OF_LAMBADA)}


def wikitext(words: Iterator[str]) -> dict[str, Any]:
    """Return a row: a page."""
    return {"page": text(words, WORDS_OF_PAGE)}


TASKS: dict[str, tuple[str, str, Callable[[Iterator[str]], dict[str, Any]]]] = {
    "hellaswag": ("hellaswag", "validation", hellaswag),
    "lambada_openai": ("lambada", "test", lambada),
    "wikitext": ("wikitext", "test", wikitext),
}


def endless_words() -> Iterator[str]:
    """Yield the words of the documentation that ships with Python, over and over."""
    documents = stdlib_docs()
    while True:
        for document in documents:
            yield from (word for word in document.split() if word.isalpha())


def text(words: Iterator[str], count: int) -> str:
    return " ".join(islice(words, count))


if __name__ == "__main__":
    os.environ["HF_DATASETS_OFFLINE"] = "1"
    main()
