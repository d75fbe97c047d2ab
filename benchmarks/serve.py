"""Speed of `gpt2 serve` beside llama.cpp's server, transformers' and the engine's own batch.

python benchmarks/serve.py [--rounds 3] [--servers gpt2,llama.cpp,transformers] [--tokens 64]

The model is the released 124M with random weights, in float32 for all; texts are greedy, streamed,
and continue prompts of 8 to 96 tokens. Each server runs in a process of its own, all in turn, round
by round, so that a slow moment of the machine hits all. The clients run in this process, beside the
server: their own share of a core is in the table.
"""

import argparse
import asyncio
import json
import math
import os
import random
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from http_load import Body, Join, Load, StreamError, join, load, stream

from gpt2 import GPT2, GPT2Config, devices
from gpt2.bench.peers import GGUF, HUGGING_FACE, run_process, write_model
from gpt2.config import GenerationConfig
from gpt2.generation.engine import Engine
from gpt2.prepare.stdlib_docs import stdlib_docs
from gpt2.progress import log
from llm_tokenizer import Tokenizer

OURS = "gpt2"
TEXTS = {1: 2, 16: 32, 64: 64}  # clients, and the texts that they ask for together
OTHERS, MORE = 16, 6  # clients that stream, and those that join them, one after the other
PROMPT_TOKENS = (8, 96)
OTHERS_TOKENS = 96  # new ones: enough steps for all that join
JOINING_TOKENS = 32  # of the prompts of those that join
WAIT = 180.0  # seconds for a server to begin


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server to measure."""

    package: str  # whose version is printed
    command: Callable[[Path, int], list[str]]  # folder of the model's files, port -> command
    body: Callable[[str, int], Body]  # prompt, new tokens -> request for a greedy stream


@dataclass
class Seen:
    """What all rounds of a server gave."""

    loads: dict[int, list[Load]] = field(default_factory=lambda: {n: [] for n in TEXTS})
    joins: list[Join] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--servers", default=",".join(SERVERS), help="some of them (all)")
    parser.add_argument("--tokens", type=int, default=64, help="new tokens of a text (64)")
    parser.add_argument("--run", nargs="+", help=argparse.SUPPRESS)  # this process is a part
    options = parser.parse_args()
    if options.run:
        PARTS[options.run[0]](*options.run[1:])
        return
    names = options.servers.split(",")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prompts = write_files(folder, options.tokens)
        seen: dict[str, Seen] = {name: Seen() for name in names}
        engine: dict[int, list[float]] = {clients: [] for clients in TEXTS}
        for number in range(1, options.rounds + 1):
            if OURS in seen:
                for clients, rate in own_batch(folder).items():
                    engine[clients].append(rate)
            for name in list(seen):
                try:
                    measure(SERVERS[name], prompts, folder, options.tokens, seen[name])
                    log(f"round {number} of {options.rounds}: {name} is done")
                except (OSError, StreamError) as error:
                    del seen[name]
                    log(f"{name} is left out, since it failed: {error}")
    print_all(seen, engine, options.tokens)


def write_files(folder: Path, tokens: int) -> dict[str, list[str]]:
    """Write the model for all, and the prompts for the engine; return the prompts of each part.

    Position embeddings are much larger than usual: a random model would repeat one token else, and
    our engine would guess it.
    """
    model = GPT2(GPT2Config(), tokenizer=Tokenizer.gpt2(), seed=0)
    with torch.no_grad():
        model.wpe.weight *= 20
    write_model(model, folder, ["llama.cpp"])
    ids = model.require_tokenizer().encode("\n\n".join(stdlib_docs()[:40]))
    draw = random.Random(0)

    def prompts(count: int, least: int, most: int) -> list[str]:
        starts = [draw.randrange(len(ids) - most) for _ in range(count)]
        cuts = [ids[start : start + draw.randint(least, most)] for start in starts]
        return [model.require_tokenizer().decode(cut) for cut in cuts]

    parts = {"warm": prompts(max(TEXTS), *PROMPT_TOKENS)}
    parts |= {str(clients): prompts(count, *PROMPT_TOKENS) for clients, count in TEXTS.items()}
    parts["others"] = prompts(OTHERS, *PROMPT_TOKENS)
    parts["more"] = prompts(MORE, JOINING_TOKENS, JOINING_TOKENS)
    (folder / "work.json").write_text(json.dumps({"tokens": tokens, "prompts": parts}))
    return parts


def measure(
    server: Server, prompts: dict[str, list[str]], folder: Path, tokens: int, seen: Seen
) -> None:
    """Run a server, and add what its clients saw to `seen`."""

    def bodies(part: str, count: int) -> list[Body]:
        return [server.body(prompt, count) for prompt in prompts[part]]

    async def ask(port: int) -> None:
        await load(port, bodies("warm", 4), max(TEXTS))
        for clients in TEXTS:
            seen.loads[clients].append(await load(port, bodies(str(clients), tokens), clients))
        seen.joins.append(await join(port, bodies("others", OTHERS_TOKENS), bodies("more", 2)))

    with running(server, folder) as port:
        asyncio.run(ask(port))


@contextmanager
def running(server: Server, folder: Path) -> Iterator[int]:
    """Run a server until it is no longer needed; its port is given when it has answered."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "log").open("w+", encoding="utf-8") as output:
        command = server.command(folder, port)
        environment = os.environ | {"HF_HUB_OFFLINE": "1"}
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        try:
            asyncio.run(answered(port, server.body("The first", 2), process))
            yield port
        except (OSError, StreamError):
            output.seek(0)
            log(output.read()[-2000:])
            raise
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


async def answered(port: int, body: Body, process: subprocess.Popen[bytes]) -> None:
    """Ask a server again and again until it answers."""
    limit = time.monotonic() + WAIT
    while True:
        try:
            await stream(port, body)
            return
        except (OSError, StreamError):
            if time.monotonic() > limit or process.poll() is not None:
                raise
            await asyncio.sleep(0.2)


def own_batch(folder: Path) -> dict[int, float]:
    """Return the tokens a second of the engine without a server, with as many places as clients."""
    line = run_process([sys.executable, __file__, "--run", "engine", str(folder)])
    return {int(clients): rate for clients, rate in json.loads(line).items()}


def run_engine(folder: str) -> None:
    """Be the process that writes the same texts without a server; print its tokens a second."""
    work = json.loads((Path(folder) / "work.json").read_text())
    rates = {}
    for clients in TEXTS:
        model = GPT2.from_pretrained(str(Path(folder) / HUGGING_FACE))
        tokenizer = model.require_tokenizer()
        engine = Engine(model, most_texts=clients, take=True)

        def write(part: str, tokens: int, engine: Any = engine, tokenizer: Any = tokenizer) -> int:
            how = GenerationConfig(max_new_tokens=tokens, temperature=0.0, ignore_end=True)
            prompts = work["prompts"][part]
            texts = [engine.submit(tokenizer.encode(prompt), how) for prompt in prompts]
            while engine.busy:
                engine.step()
            return sum(len(text.ids) for text in texts)

        write("warm", 4)
        start = time.perf_counter()
        written = write(str(clients), work["tokens"])
        rates[clients] = written / (time.perf_counter() - start)
    print(json.dumps(rates), flush=True)


def run_llama_cpp(path: str, port: str) -> None:
    """Be the process of llama.cpp's server."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = path
    params.port = int(port)
    params.n_parallel = max(TEXTS)
    params.n_ctx = max(TEXTS) * 512
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = torch.get_num_threads()
    params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE  # no page faults later
    params.fit_params = False
    params.verbosity = -1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    while True:
        time.sleep(3600)


PARTS: dict[str, Callable[..., None]] = {"engine": run_engine, "llama.cpp": run_llama_cpp}


def ours_command(folder: Path, port: int) -> list[str]:
    model = str(folder / HUGGING_FACE)
    return [sys.executable, "-m", "gpt2", "serve", "--model", model, "--port", str(port)]


def llama_cpp_command(folder: Path, port: int) -> list[str]:
    return [sys.executable, __file__, "--run", "llama.cpp", str(folder / GGUF), str(port)]


def transformers_command(folder: Path, port: int) -> list[str]:
    program = [sys.executable, "-m", "transformers.cli.transformers", "serve"]
    flags = ["--continuous-batching", "--device", "cpu", "--host", "127.0.0.1"]
    # Without these it takes 90 % of the memory, and its masks are those of 8192 tokens a pass.
    flags += ["--cb-num-blocks", "128", "--cb-max-batch-tokens", "512"]
    return [*program, str(folder / HUGGING_FACE), *flags, "--port", str(port)]


def ours_body(prompt: str, tokens: int) -> Body:
    body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "stream": True}
    return body | {"ignore_eos": True}


def llama_cpp_body(prompt: str, tokens: int) -> Body:
    return ours_body(prompt, tokens) | {"samplers": ["top_k"], "top_k": 1}  # no other work


def transformers_body(prompt: str, tokens: int) -> Body:
    how = {"max_new_tokens": tokens, "do_sample": False}  # no end: it has no eos_token_id
    return {"prompt": prompt, "stream": True, "generation_config": json.dumps(how)}


SERVERS = {
    OURS: Server(package="gpt2-from-scratch", command=ours_command, body=ours_body),
    "llama.cpp": Server(package="xllamacpp", command=llama_cpp_command, body=llama_cpp_body),
    "transformers": Server(
        package="transformers", command=transformers_command, body=transformers_body
    ),
}


def print_all(seen: dict[str, Seen], engine: dict[int, list[float]], tokens: int) -> None:
    """Print the tables; each figure is the median of the rounds."""
    versions = ", ".join(f"{name} ({version_of(SERVERS[name])})" for name in seen)
    print(f"`{shlex.join(['python', *sys.argv])}`: {devices.describe(torch.device('cpu'))}")
    print(f"on {os.cpu_count()} cores; {versions}; torch {torch.__version__}\n")
    print("| server | clients | tokens/s | ours / it | of the engine's own batch ", end="")
    print("| first token, ms: median, 95 % | between tokens, ms: median, 95 % | the clients' CPU |")
    print("|---|---|---|---|---|---|---|---|")
    for clients in TEXTS:
        for name, each in seen.items():
            rates = rates_of(each, clients, tokens)
            ratio = share = "-"
            if name == OURS:
                share = median_ratio(rates, engine[clients])
            elif OURS in seen:
                ratio = median_ratio(rates_of(seen[OURS], clients, tokens), rates)
            loads = each.loads[clients]
            first = [[s.first - s.started for s in one.streams] for one in loads]
            gaps = [[gap for s in one.streams for gap in s.gaps()] for one in loads]
            own = statistics.median(one.own_share for one in loads)
            print(
                f"| {name} | {clients} | {statistics.median(rates):.0f} | {ratio} | {share} "
                f"| {milliseconds(first)} | {milliseconds(gaps)} | {own:.0%} |"
            )
    print(f"\n| one more client while {OTHERS} stream | first token, steps: median, 95 % ", end="")
    print("| tokens of each other until then: median, most | a step, ms |\n|---|---|---|---|")
    for name, each in seen.items():
        steps = [step for one in each.joins for step in one.steps]
        passes = [count for one in each.joins for count in one.passes]
        step = statistics.median(one.step_seconds for one in each.joins)
        print(
            f"| {name} | {statistics.median(steps):.1f}, {percentile_95(steps):.1f} "
            f"| {statistics.median(passes):.0f}, {max(passes)} | {1e3 * step:.1f} |"
        )


def version_of(server: Server) -> str:
    return f"{server.package} {version(server.package)}"


def rates_of(seen: Seen, clients: int, tokens: int) -> list[float]:
    """Return the tokens a second of each round."""
    return [len(one.streams) * tokens / one.seconds for one in seen.loads[clients]]


def median_ratio(values: list[float], others: list[float]) -> str:
    """Return the median of the rounds' ratios."""
    ratios = [a / b for a, b in zip(values, others, strict=True)]
    return f"{statistics.median(ratios):.2f}"


def milliseconds(rounds: list[list[float]]) -> str:
    """Return the median of the rounds' medians, and of what 95 % are within."""
    middle = statistics.median(statistics.median(values) for values in rounds)
    end = statistics.median(percentile_95(values) for values in rounds)
    return f"{1e3 * middle:.0f}, {1e3 * end:.0f}"


def percentile_95(values: list[float]) -> float:
    """Return what 95 % of some values are within."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


if __name__ == "__main__":
    main()
