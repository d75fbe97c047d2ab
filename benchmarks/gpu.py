"""What benchmarks/gpu.sh measures beside `gpt2 bench train`, and its table.

python benchmarks/gpu.py peaks | decode --model gpt2 | table FOLDER
"""

import argparse
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from gpt2 import devices
from gpt2.bench.engines import Complete, Job, measure
from gpt2.config import GenerationConfig, GPT2Config, RunConfig, recipe_path
from gpt2.files.pretrained import GPT2
from gpt2.generation.engine import Engine

BATCHES = [1, 16]  # texts at once
PROMPT_TOKENS, PREFILL_TOKENS = 32, 512
TRIES = 5

TRAINING = (
    "training       rows  compiled  program         tokens/s   ms/step  of measured  of published"
    "    memory"
)
DECODING = (
    "decoding      batch  program         tokens/s  ms/token  of bandwidth  first token    memory"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name in ("peaks", "decode"):
        verb = verbs.add_parser(name)
        verb.add_argument("--device", default="cuda")
        verb.add_argument("--dtype", default="bfloat16")
        if name == "decode":
            verb.add_argument("--model", required=True)
    verbs.add_parser("table").add_argument("folder", type=Path)
    options = parser.parse_args()
    if options.verb == "table":
        print_table(options.folder)
        return
    device, dtype = devices.select_device(options.device), devices.DTYPES[options.dtype]
    if options.verb == "peaks":
        print(json.dumps(peaks(device, dtype)))
        return
    for row in decode(options.model, device, dtype):
        print(json.dumps(row), flush=True)


def peaks(device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Measure products of matrices, and reads of memory."""
    is_gpu = device.type == "cuda"
    return {
        "device": devices.describe(device),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "commit": commit(),
        "dtype": devices.name_dtype(dtype),
        "product_flops": product_flops(device, dtype, [4096, 8192] if is_gpu else [512]),
        "published_flops": devices.peak_flops(device, dtype) if is_gpu else None,
        "read_bandwidth": read_bandwidth(device, 2**32 if is_gpu else 2**27),
    }


def product_flops(device: torch.device, dtype: torch.dtype, sizes: list[int]) -> float:
    """Return the best rate of products of square matrices, in operations a second."""
    best = 0.0
    for size in sizes:
        # Random numbers: those of ones take less power, and so a GPU runs them at a higher clock.
        matrix = torch.randn(size, size, device=device).to(dtype)
        best = max(best, 2 * size**3 / seconds(device, lambda m=matrix: m @ m))  # type: ignore[misc]
    return best


def read_bandwidth(device: torch.device, size: int) -> float:
    """Return the best rate at which so many bytes are summed, in bytes a second."""
    array = torch.ones(size // 4, device=device)
    return size / seconds(device, array.sum)


def seconds(device: torch.device, work: Callable[[], object], repeats: int = 10) -> float:
    """Return how long the work takes, the best of several tries of some repeats."""
    best = float("inf")
    for _ in range(TRIES + 1):  # the first one loads kernels
        devices.synchronize(device)
        started = time.perf_counter()
        for _ in range(repeats):
            work()
        devices.synchronize(device)
        best = min(best, (time.perf_counter() - started) / repeats)
    return best


def commit() -> str:
    """Return the commit of the working tree, with + where files differ from it."""
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=8", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "?"


def decode(name: str, device: torch.device, dtype: torch.dtype) -> Iterator[dict[str, Any]]:
    """Measure greedy texts of a model with random weights, by us and by transformers."""
    config = shape(name)
    new_tokens = min(256, config.n_positions // 2)
    job = Job(
        engine="",
        path="",
        dtype=devices.name_dtype(dtype),
        threads=torch.get_num_threads(),
        batches=BATCHES,
        prompt_tokens=PROMPT_TOKENS,
        new_tokens=new_tokens,
        prefill_tokens=min(PREFILL_TOKENS, config.n_positions - 1),
        vocab_size=config.vocab_size,
    )
    programs: dict[str, Callable[..., tuple[Complete, int]]] = {
        "gpt2": ours,
        "transformers": theirs,
    }
    for program, make in programs.items():
        try:
            complete, weight_bytes = make(config, device, dtype)
        except ImportError:
            continue  # it is not installed
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        times = measure(job, complete)
        memory = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
        for i, batch in enumerate(BATCHES):
            step = times.decode_seconds[i] / (new_tokens - 1)
            yield {
                "program": program,
                "batch": batch,
                "tokens_per_second": batch / step,
                "bytes_per_second": weight_bytes / step,  # if a step reads every weight once
                "first_token_seconds": times.first_token_seconds[i],
                "peak_memory_bytes": memory,
            }
        del complete


def shape(name: str) -> GPT2Config:
    """Return the shape of a released model, or of the demo's."""
    if name == "demo":
        return RunConfig.from_toml(recipe_path(name)).model
    return GPT2Config.preset(name)


def ours(config: GPT2Config, device: torch.device, dtype: torch.dtype) -> tuple[Complete, int]:
    """Return our engine, and the bytes of the weights that a step reads."""
    model = GPT2(config).eval().to(device, dtype)
    engine = Engine(model, most_texts=max(BATCHES))
    settings = {"temperature": 0.0, "ignore_end": True, "draft": False}

    def complete(prompts: list[list[int]], new_tokens: int) -> list[int]:
        how = GenerationConfig(max_new_tokens=new_tokens, **settings)  # type: ignore[arg-type]
        texts = [engine.submit(prompt, how) for prompt in prompts]
        while engine.busy:
            engine.step()
        return [len(text.ids) for text in texts]

    return complete, sum(weight.nbytes for weight in model.parameters()) - model.wpe.weight.nbytes


def theirs(config: GPT2Config, device: torch.device, dtype: torch.dtype) -> tuple[Complete, int]:
    """Return transformers' `generate` for a model of the same shape, and the same bytes."""
    import transformers

    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    sizes = {name: getattr(config, name) for name in ("vocab_size", "n_positions", "n_embd")}
    sizes |= {"n_layer": config.n_layer, "n_head": config.n_head}
    model: Any = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes))
    model.eval().to(device, dtype)
    model.generation_config.eos_token_id = None  # no early end

    def complete(prompts: list[list[int]], new_tokens: int) -> list[int]:
        ids = torch.tensor(prompts, device=device)
        with torch.inference_mode():
            texts = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=new_tokens,
                do_sample=False,
                pad_token_id=0,
            )
        return [texts.size(1) - ids.size(1)] * len(prompts)

    positions = model.transformer.wpe.weight.nbytes
    return complete, sum(weight.nbytes for weight in model.parameters()) - positions


def print_table(folder: Path) -> None:
    """Print what is in the files of a folder."""
    known = rows_of(folder / "peaks.jsonl")
    if not known:
        print(f"the peaks were not measured: see {folder}/log.txt")
        return
    peak = known[0]
    published = peak["published_flops"]
    print(
        f"# {peak['device']}, torch {peak['torch']}, CUDA {peak['cuda']}, commit {peak['commit']}\n"
        f"# measured here: products in {peak['dtype']} {peak['product_flops'] / 1e12:,.2f} TFLOP/s "
        f"({'not' if published is None else f'{published / 1e12:,.0f}'} published), "
        f"reads {peak['read_bandwidth'] / 1e9:,.0f} GB/s"
    )
    print(TRAINING)
    for path in sorted(folder.glob("train_*.jsonl"), key=order):
        for row in rows_of(path):
            print(training_line(path, row, peak))
    print(DECODING)
    for path in sorted(folder.glob("decode_*.jsonl")):
        for row in rows_of(path):
            print(decoding_line(path, row, peak))


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file of JSON lines; none where it is missing."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def order(path: Path) -> tuple[str, str, int]:
    """Return what the files of training are sorted by: model, compiled or not, rows."""
    _, model, rows, compiled = path.stem.split("_")
    return model, compiled, int(rows)


def training_line(path: Path, row: dict[str, Any], peak: dict[str, Any]) -> str:
    """Return a line of the table: the file's name says model, rows and whether it is compiled."""
    _, model, rows, compiled = path.stem.split("_")
    share, divisor = row["share_of_peak"], row["peaks"]["product_flops"]
    measured = None if share is None else share * divisor / peak["product_flops"]
    return (
        f"{model:13}{rows:>6}{compiled:>10}  {row['engine']:13}{row['tokens_per_second']:11,.0f}"
        f"{row['step_seconds'] * 1e3:10.1f}{share_text(measured):>13}"
        f"{share_text(share if peak['published_flops'] else None):>14}"
        f"{memory_text(row['peak_memory_bytes']):>10}"
    )


def decoding_line(path: Path, row: dict[str, Any], peak: dict[str, Any]) -> str:
    """Return a line of the table."""
    return (
        f"{path.stem.partition('_')[2]:13}{row['batch']:>6}  {row['program']:13}"
        f"{row['tokens_per_second']:11,.1f}{1e3 * row['batch'] / row['tokens_per_second']:10.3f}"
        f"{share_text(row['bytes_per_second'] / peak['read_bandwidth']):>14}"
        f"{row['first_token_seconds'] * 1e3:10.1f} ms{memory_text(row['peak_memory_bytes']):>10}"
    )


def share_text(share: float | None) -> str:
    """Return a share with two digits."""
    return "?" if share is None else f"{share:.2f}"


def memory_text(size: int | None) -> str:
    """Return bytes in GB."""
    return "?" if size is None else f"{size / 1e9:.1f} GB"


if __name__ == "__main__":
    main()
