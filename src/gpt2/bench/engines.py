"""One engine in a process of its own: `python -m gpt2.bench.engines JOB` prints its `Times`.

All engines do the same work by the same clock: they continue random prompts greedily. The time of
one new token is that of the prefill; what longer texts take beyond it is decoding.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gpt2.config import GenerationConfig

# Continues prompts by so many tokens; returns how many each got.
Complete = Callable[[list[list[int]], int], list[int]]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What an engine is to do."""

    engine: str  # a key of ENGINES
    path: str  # of the model, as this engine reads it
    dtype: str  # as this engine calls it
    threads: int
    batches: list[int]  # prompts at once
    prompt_tokens: int
    new_tokens: int  # at least 2
    prefill_tokens: int
    vocab_size: int


@dataclass(frozen=True, kw_only=True)
class Times:
    """What it took, in the order of the job's batches."""

    first_token_seconds: list[float]  # from the prompts to one token of each; the best of three
    decode_seconds: list[float]  # of all new tokens but the first
    prefill_seconds: float  # of one prompt of prefill_tokens, and one new token
    peak_memory_bytes: int | None  # of the process
    build: str = ""  # of what the engine is compiled for, where it says so
    read_bandwidth: list[float] = field(default_factory=list)  # around each decoding; ours alone
    weight_bytes: int | None = None  # that decoding a token reads; ours alone


def measure(job: Job, complete: Complete) -> Times:
    """Measure an engine, each shape after a run that warms it up."""
    draw = random.Random(0)

    def seconds(rows: int, prompt_tokens: int, new_tokens: int) -> float:
        prompts = [draw.choices(range(job.vocab_size), k=prompt_tokens) for _ in range(rows)]
        started = time.perf_counter()
        got = complete(prompts, new_tokens)
        stopped = time.perf_counter()
        if got != [new_tokens] * rows:
            raise ValueError(f"{rows} texts of {new_tokens} tokens are wanted, got {got}")
        return stopped - started

    first, decode, bandwidth = [], [], []
    seconds(1, job.prefill_tokens, 1)
    prefill = seconds(1, job.prefill_tokens, 1)
    for rows in job.batches:
        seconds(rows, job.prompt_tokens, min(job.new_tokens, 8))
    memory = peak_memory()  # before reads of memory are measured, which takes some
    for rows in job.batches:
        first.append(min(seconds(rows, job.prompt_tokens, 1) for _ in range(3)))
        before = _read_bandwidth(job)
        whole = seconds(rows, job.prompt_tokens, job.new_tokens)
        bandwidth += [(b + a) / 2 for b, a in zip(before, _read_bandwidth(job), strict=True)]
        decode.append(max(whole - first[-1], 1e-9))
    return Times(
        first_token_seconds=first,
        decode_seconds=decode,
        prefill_seconds=prefill,
        peak_memory_bytes=memory,
        build=_build(job),
        read_bandwidth=bandwidth,
        weight_bytes=getattr(complete, "weight_bytes", None),
    )


def _read_bandwidth(job: Job) -> list[float]:
    """Measure reads of memory right beside ours: on a shared machine they change by the minute."""
    if job.engine != "gpt2":
        return []
    from gpt2.bench.limits import read_bandwidth

    return [read_bandwidth(job.threads)]


def peak_memory() -> int | None:
    """Return the most memory that this process has had, in bytes; None where it is not known.

    Linux's getrusage would return that of the process that started this one, if it had more.
    """
    if sys.platform == "linux":
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return 1024 * int(fields["VmHWM"].split()[0])
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


def _build(job: Job) -> str:
    if job.engine != "llama.cpp":
        return ""
    import xllamacpp

    return str(xllamacpp.get_system_info())


def _ours(job: Job) -> Complete:
    import torch

    from gpt2.files.pretrained import GPT2
    from gpt2.generation.engine import Engine

    torch.set_num_threads(job.threads)
    precision: Any = job.dtype
    engine = Engine(
        GPT2.from_pretrained(job.path),
        precision=precision,
        threads=job.threads,
        most_texts=max(job.batches),
        take=True,
    )

    def complete(prompts: list[list[int]], new_tokens: int) -> list[int]:
        config = GenerationConfig(
            max_new_tokens=new_tokens, temperature=0.0, ignore_end=True, draft=False
        )
        texts = [engine.submit(prompt, config) for prompt in prompts]
        while engine.busy:
            engine.step()
        return [len(text.ids) for text in texts]

    complete.weight_bytes = getattr(  # type: ignore[attr-defined]
        engine.runner, "weight_bytes", None
    )
    return complete


def _transformers(job: Job) -> Complete:
    import torch
    from transformers import GPT2LMHeadModel

    torch.set_num_threads(job.threads)
    model: Any = GPT2LMHeadModel.from_pretrained(job.path, dtype=getattr(torch, job.dtype))
    model.eval()
    model.generation_config.eos_token_id = None  # no early end

    def complete(prompts: list[list[int]], new_tokens: int) -> list[int]:
        ids = torch.tensor(prompts)
        with torch.inference_mode():
            texts = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=new_tokens,
                do_sample=False,
                pad_token_id=0,
            )
        return [texts.size(1) - ids.size(1)] * len(prompts)

    return complete


def _ctranslate2(job: Job) -> Complete:
    import ctranslate2

    vocabulary = json.loads((Path(job.path) / "vocabulary.json").read_text(encoding="utf-8"))
    generator = ctranslate2.Generator(
        job.path, compute_type=job.dtype, intra_threads=job.threads, inter_threads=1
    )

    def complete(prompts: list[list[int]], new_tokens: int) -> list[int]:
        texts = generator.generate_batch(
            [[vocabulary[i] for i in prompt] for prompt in prompts],
            beam_size=1,
            sampling_topk=1,
            min_length=new_tokens,  # no early end
            max_length=new_tokens,
            include_prompt_in_result=False,
        )
        return [len(text.sequences_ids[0]) for text in texts]

    return complete


def _llama_cpp(job: Job) -> Complete:
    servers: dict[int, Any] = {}  # one for each number of slots

    def complete(prompts: list[list[int]], new_tokens: int) -> list[int]:
        slots = len(prompts)
        if slots not in servers:
            servers.clear()
            servers[slots] = _llama_cpp_server(job, slots)
        request = {
            "prompt": prompts if slots > 1 else prompts[0],
            "max_tokens": new_tokens,
            "ignore_eos": True,
            "cache_prompt": False,
            "samplers": ["top_k"],  # no other work at each token
            "top_k": 1,
        }
        answer = servers[slots].handle_completions(request)
        answer = json.loads(answer) if isinstance(answer, str) else answer
        whole = [choice["finish_reason"] == "length" for choice in answer["choices"]]
        return [new_tokens if is_whole else 0 for is_whole in whole]

    return complete


def _llama_cpp_server(job: Job, slots: int) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = job.path
    params.n_parallel = slots
    longest = job.prompt_tokens + job.new_tokens
    params.n_ctx = slots * longest if slots > 1 else max(longest, job.prefill_tokens + 1)
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = job.threads
    params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE  # no page faults later
    params.fit_params = False
    params.cache_ram_mib = 0
    params.verbosity = -1
    return xllamacpp.Server(params)


ENGINES: dict[str, Callable[[Job], Complete]] = {
    "gpt2": _ours,
    "transformers": _transformers,
    "ctranslate2": _ctranslate2,
    "llama.cpp": _llama_cpp,
}


def main() -> None:
    """Do the job of the first argument, and print its times as the last line."""
    job = Job(**json.loads(sys.argv[1]))
    os.environ["HF_HUB_OFFLINE"] = "1"  # everything is on disk
    times = measure(job, ENGINES[job.engine](job))
    print("\n" + json.dumps(asdict(times), allow_nan=False), flush=True)
    os._exit(0)  # without the teardown of threads that libraries leave behind


if __name__ == "__main__":
    main()
