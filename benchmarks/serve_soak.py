"""Does a server live on, and answer alike, under clients that come, break requests off, and go?

python benchmarks/serve_soak.py --url http://127.0.0.1:8000 [--pid PID] [--minutes 10]

Each client asks for one of some requests again and again: whole or streamed, several choices,
echoes, log-probabilities; some break off in the middle, some are malformed. The same request must
give the same answer each time, no answer may be a 5xx, and at the end no text may be left.
"""

import argparse
import asyncio
import json
import random
import re
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

Body = dict[str, Any]

PAGE = 4096  # bytes
TEXT = "The of function returns a list ValueError import self for each item in class None"
WORDS = TEXT.split(" ")
JSON = {"Content-Type": "application/json"}
LISTS = ("tokens", "token_logprobs", "top_logprobs", "text_offset")  # of log-probabilities
MALFORMED: list[bytes] = [
    b"",
    b"{",
    b"[]",
    b'{"prompt": 7}',
    b'{"prompt": "a", "max_tokens": -1}',
    b'{"prompt": "a", "temperature": "hot"}',
    b'{"prompt": "a", "logprobs": 1000}',
    b'{"prompt": "a", "max_tokens": 10000000}',
    b'{"prompt": [1, -1]}',
    b'{"prompt": [99999999]}',
    b'{"prompt": "a", "unknown": true}',
    b'{"prompt": "a", "model": "none of these"}',
    b'{"prompt": "\xff\xfe"}',
]


@dataclass
class Report:
    """What the clients have seen."""

    counts: Counter[str] = field(default_factory=Counter)
    answers: dict[int, Any] = field(default_factory=dict)  # by the number of the request
    faults: list[str] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)  # of the server, MB, once a second

    def compare(self, number: int, body: Body, answer: Any) -> None:
        """Note an answer, and a fault if the same request was answered in another way before."""
        known = self.answers.setdefault(number, answer)
        self.counts["tokens"] += sum(choice["tokens"] for choice in answer.values())
        if answer != known:
            self.faults.append(f"{json.dumps(body)[:300]} gave {known} and {answer}"[:1500])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of the server")
    parser.add_argument("--pid", type=int, help="of the server, to measure its memory")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--clients", type=int, default=64, help="at the same time (default: 64)")
    parser.add_argument("--seed", type=int, default=0, help="of the requests (default: 0)")
    options = parser.parse_args()
    report = asyncio.run(soak(options))
    print_report(report, options.minutes)
    sys.exit(bool(report.faults))


async def soak(options: argparse.Namespace) -> Report:
    """Let the clients ask until the time is over; then see that no text is left."""
    report = Report()
    # Connections are closed by this side before the server does so just as one is used again.
    limits = httpx.Limits(max_keepalive_connections=options.clients, keepalive_expiry=1)
    async with httpx.AsyncClient(base_url=options.url, timeout=600, limits=limits) as client:
        [model, *_] = (await client.get("/v1/models")).json()["data"]
        chance = random.Random(options.seed)
        bodies = [some_body(chance, model["max_model_len"]) for _ in range(200)]
        end = time.monotonic() + 60 * options.minutes
        watch = asyncio.create_task(watch_memory(options.pid, report))
        await asyncio.gather(
            *(
                ask_until(end, client, bodies, random.Random(f"{options.seed} {n}"), report)
                for n in range(options.clients)
            )
        )
        watch.cancel()
        await check_that_no_text_is_left(client, report)
    return report


def some_body(chance: random.Random, most: int) -> Body:
    """Return a request that has one right answer: it is greedy or has a seed."""
    prompt = some_prompt(chance, most // 2)
    body: Body = {"prompt": prompt, "max_tokens": chance.choice([1, 4, 16, min(64, most // 2)])}
    body |= chance.choice([{"temperature": 0}, {"seed": chance.randrange(100)}])
    body |= chance.choice([{}, {}, {"top_p": 0.9}, {"top_k": 40}, {"presence_penalty": 0.5}])
    body |= chance.choice([{}, {}, {"stop": ["\n\n", "return"]}, {"ignore_eos": True}])
    body |= chance.choice([{}, {"n": 3}, {"logprobs": 1}, {"logprobs": 5}])
    body |= chance.choice([{}, {}, {"echo": True}, {"echo": True, "logprobs": 1}])
    if body.get("echo") and chance.random() < 0.5:
        body["max_tokens"] = 0
    return body


def some_prompt(chance: random.Random, most: int) -> Any:
    """Return a prompt of up to so many tokens, where a word has up to two."""
    words = chance.choices(WORDS, k=chance.choice([1, 8, most // 4]))
    beginning = WORDS * 20  # that several requests share
    text = " ".join([*beginning[: chance.choice([0, 0, most // 4])], *words])
    ids = chance.choices(range(256), k=chance.choice([1, 20, most]))
    return chance.choice([text, text, ids, [text, WORDS[0]], [ids, ids[:1]]])


async def ask_until(
    end: float, client: httpx.AsyncClient, bodies: list[Body], chance: random.Random, report: Report
) -> None:
    """Ask one thing after the other."""
    while time.monotonic() < end:
        number, kind = chance.randrange(len(bodies)), chance.random()
        try:
            if kind < 0.05:
                await ask_malformed(client, chance, report)
            elif kind < 0.4:
                await ask_whole(client, number, bodies[number], report)
            elif kind < 0.75:
                await ask_streamed(client, number, bodies[number], report)
            elif kind < 0.9:
                await break_stream_off(client, bodies[number], chance.randrange(1, 30), report)
            else:
                await break_off(client, bodies[number], chance.random(), report)
        except httpx.HTTPError as error:
            report.faults.append(f"{type(error).__name__} {error}: {bodies[number]}"[:500])


async def ask_malformed(client: httpx.AsyncClient, chance: random.Random, report: Report) -> None:
    content = chance.choice(MALFORMED)
    answer = await client.post("/v1/completions", content=content, headers=JSON)
    report.counts["malformed"] += 1
    if not 400 <= answer.status_code < 500 or "error" not in answer.json():
        report.faults.append(f"{content!r} gave {answer.status_code}: {answer.text[:300]}")


async def ask_whole(client: httpx.AsyncClient, number: int, body: Body, report: Report) -> None:
    answer = await client.post("/v1/completions", json=body)
    if await is_answer(answer, body, report):
        report.counts["whole"] += 1
        report.compare(number, body, joined([answer.json()], body))


async def ask_streamed(client: httpx.AsyncClient, number: int, body: Body, report: Report) -> None:
    request = {**body, "stream": True}
    async with client.stream("POST", "/v1/completions", json=request) as answer:
        if not await is_answer(answer, body, report):
            return
        lines = [line[6:] async for line in answer.aiter_lines() if line.startswith("data: ")]
    report.counts["streamed"] += 1
    if lines[-1:] != ["[DONE]"]:
        report.faults.append(f"{json.dumps(request)[:300]} ended with {lines[-1:]}"[:1000])
        return
    report.compare(number, body, joined([json.loads(line) for line in lines[:-1]], body))


async def break_stream_off(
    client: httpx.AsyncClient, body: Body, lines: int, report: Report
) -> None:
    request = {**body, "stream": True}
    async with client.stream("POST", "/v1/completions", json=request) as answer:
        if await is_answer(answer, body, report):
            async for _ in answer.aiter_lines():
                lines -= 1
                if lines == 0:
                    break
            report.counts["broken off"] += 1


async def break_off(client: httpx.AsyncClient, body: Body, seconds: float, report: Report) -> None:
    try:
        async with asyncio.timeout(seconds):
            await is_answer(await client.post("/v1/completions", json=body), body, report)
    except TimeoutError:
        report.counts["broken off"] += 1


async def is_answer(answer: httpx.Response, body: Body, report: Report) -> bool:
    """Return whether a request was granted; wait where the server asks for it."""
    report.counts[f"status {answer.status_code}"] += 1
    if answer.status_code == 200:
        return True
    if answer.status_code == 429:
        await asyncio.sleep(float(answer.headers["Retry-After"]))
    else:
        await answer.aread()
        report.faults.append(f"{answer.status_code} {answer.text[:300]}: {json.dumps(body)[:300]}")
    return False


def joined(parts: list[Any], body: Body) -> dict[int, Any]:
    """Return by index what each choice of an answer holds, however many parts it came in."""
    choices: dict[int, Any] = {}
    for part in parts:
        if "error" in part:
            return {-1: {"error": part["error"], "tokens": 0}}
        for choice in part["choices"]:
            whole = choices.setdefault(
                choice["index"], {"text": "", "reason": None, "logprobs": [], "tokens": 0}
            )
            whole["text"] += choice["text"]
            whole["reason"] = choice["finish_reason"] or whole["reason"]
            if logprobs := choice.get("logprobs"):
                whole["logprobs"] += zip(*(logprobs[key] for key in LISTS), strict=True)
                whole["tokens"] += len(logprobs["tokens"])
    return choices


async def watch_memory(pid: int | None, report: Report) -> None:
    while pid is not None:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
        report.memory.append(pages * PAGE / 1e6)
        await asyncio.sleep(1)


async def check_that_no_text_is_left(client: httpx.AsyncClient, report: Report) -> None:
    """Note a fault if texts run or wait though nobody asks any more: a step later they must not."""
    for _ in range(20):
        metrics = (await client.get("/metrics")).text
        left = re.findall(r"^gpt2_texts_(?:running|waiting)\{.*\} (.*)$", metrics, re.MULTILINE)
        if left and not any(map(float, left)):
            return
        await asyncio.sleep(0.5)
    report.faults.append(f"texts are left at the end: {left}")


def print_report(report: Report, minutes: float) -> None:
    for name, count in sorted(report.counts.items()):
        print(f"{name:12} {count:8,}")
    print(f"{len(report.answers)} requests had one answer each, {len(report.faults)} faults")
    third = len(report.memory) // 3
    if third:
        first, last = report.memory[:third], report.memory[-third:]
        print(
            f"resident memory over {minutes:g} minutes: {statistics.median(first):.0f} MB in the "
            f"first third, {statistics.median(last):.0f} in the last, {max(report.memory):.0f} most"
        )
    for fault in report.faults[:20]:
        print(f"fault: {fault}")


if __name__ == "__main__":
    main()
