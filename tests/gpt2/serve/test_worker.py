"""The thread that computes the engine's steps serves an event loop, whatever happens to a step."""

import asyncio
import gc
import random
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from gpt2.config import GenerationConfig
from gpt2.errors import InputError
from gpt2.files.pretrained import GPT2
from gpt2.generation.continuation import Continuation
from gpt2.generation.engine import Engine
from gpt2.serve.worker import Order, QueueFullError, Worker, Writing

MOST_SECONDS = 60  # that a test waits for what never takes so long
GREEDY = GenerationConfig(max_new_tokens=12, temperature=0)


class GatedEngine(Engine):
    """An engine that takes a step only when the test lets it, and fails where it says so."""

    def __init__(self, model: GPT2, **settings: Any) -> None:
        super().__init__(model, **settings)
        self.gate = threading.Semaphore(0)
        self.error: Exception | None = None

    def step(self) -> list[Continuation]:
        assert self.gate.acquire(timeout=MOST_SECONDS)
        if self.error:
            error, self.error = self.error, None
            self._drop_cancelled()
            self._admit()
            raise error
        return super().step()


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(main(), MOST_SECONDS))


@contextmanager
def working(engine: Engine, most: int = 100, **settings: Any) -> Iterator[Worker]:
    worker = Worker(engine, most, asyncio.get_running_loop(), **settings)
    try:
        yield worker
    finally:
        if isinstance(engine, GatedEngine):
            engine.gate.release()  # if it waits for a step
        worker.stop()


async def change(writing: Writing) -> None:
    await writing.changed.wait()
    writing.changed.clear()


async def ended(writings: list[Writing]) -> None:
    for writing in writings:
        while not writing.has_ended:
            await change(writing)


def alone(model: GPT2, order: Order) -> Continuation:
    engine = Engine(model, most_texts=1)
    text = engine.submit(
        order.prompt_ids, order.config, order.sample, score_prompt=order.score_prompt
    )
    while engine.busy:
        engine.step()
    return text


def test_texts_come_to_their_end(model: GPT2) -> None:
    async def main() -> None:
        orders = [Order([n, 1], GREEDY) for n in range(5)]
        noted: list[Writing] = []
        with working(Engine(model, most_texts=2), note_end=noted.append) as worker:
            writings = worker.submit(orders)
            assert worker.count == 5
            await ended(writings)
            assert worker.count == 0
        for order, writing in zip(orders, writings, strict=True):
            assert (writing.finish_reason, writing.tokens) == ("length", 12)
            assert writing.text.ids == alone(model, order).ids
            assert writing.submitted <= writing.first_token <= writing.last_token
        assert set(noted) == set(writings)

    run(main)


def test_each_step_is_seen_once_and_as_it_was(model: GPT2) -> None:
    async def main() -> None:
        engine = GatedEngine(model)
        with working(engine) as worker:
            config = replace(GREEDY, ignore_end=True, draft=False)
            [writing] = worker.submit([Order([1, 2, 3], config, score_prompt=True)])
            assert not writing.prompt_is_read
            for count in range(1, 13):
                engine.gate.release()
                await change(writing)
                assert writing.prompt_is_read
                assert writing.tokens == count
                assert writing.pieces <= len(writing.text.pieces)
                assert writing.has_ended == (count == 12)

    run(main)


def test_the_loop_is_woken_once_a_step(model: GPT2, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        engine, wakes = GatedEngine(model), []
        loop = asyncio.get_running_loop()
        call = loop.call_soon_threadsafe
        monkeypatch.setattr(
            loop, "call_soon_threadsafe", lambda *args: wakes.append(args) or call(*args)
        )
        with working(engine) as worker:
            writings = worker.submit([Order([n], GREEDY) for n in range(9)])
            engine.gate.release(3)
            while writings[-1].tokens < 3:
                await change(writings[-1])
            assert len(wakes) == 3

    run(main)


def test_more_than_may_wait_are_refused_all_together(model: GPT2) -> None:
    async def main() -> None:
        engine = GatedEngine(model)
        with working(engine, most=3) as worker:
            worker.submit([Order([1], GREEDY), Order([2], GREEDY)])
            with pytest.raises(QueueFullError, match="up to 3 texts may be .* and 2 do; try again"):
                worker.submit([Order([3], GREEDY), Order([4], GREEDY)])
            assert worker.count == 2
            worker.submit([Order([3], GREEDY)])

    run(main)


def test_of_a_request_with_a_bad_text_none_is_written(model: GPT2) -> None:
    async def main() -> None:
        with working(Engine(model)) as worker:
            with pytest.raises(InputError, match="got 300"):
                worker.submit([Order([1], GREEDY), Order([300], GREEDY)])
            assert worker.count == 0
            writings = worker.submit([Order([1], GREEDY)])
            await ended(writings)
            assert not worker.engine.busy

    run(main)


def test_cancelled_texts_free_their_places_at_the_next_step_also_waiting_ones(model: GPT2) -> None:
    async def main() -> None:
        engine = GatedEngine(model, most_texts=2)
        with working(engine, most=4) as worker:
            writings = worker.submit([Order([n], GREEDY) for n in range(4)])
            engine.gate.release()
            await change(writings[0])
            worker.cancel([writings[0], writings[3]])  # one runs, one waits
            engine.gate.release()
            await ended([writings[0], writings[3]])
            assert (writings[0].tokens, writings[3].tokens) == (1, 0)
            assert [w.finish_reason for w in writings] == ["cancelled", None, None, "cancelled"]
            assert worker.count == 2
            assert (engine.load.running, engine.load.waiting) == (2, 0)
            engine.gate.release(20)
            await ended(writings)
            assert [w.tokens for w in writings] == [1, 12, 12, 0]

    run(main)


def test_a_step_that_fails_ends_its_texts_and_no_others(
    model: GPT2, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        engine = GatedEngine(model, most_texts=2)
        with working(engine) as worker:
            orders = [Order([n, 7], GREEDY) for n in range(6)]
            writings = worker.submit(orders)
            engine.gate.release()
            await change(writings[1])
            worker.cancel([writings[0], writings[5]])
            engine.error = ValueError("a secret text")
            engine.gate.release(100)
            await ended(writings)
            assert worker.count == 0
            reasons = [writing.finish_reason for writing in writings]
            assert [reasons[0], reasons[5]] == ["cancelled"] * 2
            # The third took the place of the first before the step failed.
            assert [isinstance(w.error, ValueError) for w in writings] == [False, True, True] + (
                [False] * 3
            )
            assert [writing.tokens for writing in writings] == [1, 1, 0, 12, 12, 0]
            for order, writing in zip(orders[3:5], writings[3:5], strict=True):
                assert writing.text.ids == alone(model, order).ids

    run(main)
    err = capsys.readouterr().err
    assert "a step of the engine failed, and 2 texts with it: ValueError at test_worker.py:" in err
    assert "secret" not in err


def test_a_cache_that_finds_no_memory_ends_its_text_and_not_the_server(
    model: GPT2, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        engine = Engine(model)
        new_cache = engine.runner.new_cache
        failures = iter([True, False, False])

        def fail_once(capacity: int) -> Any:
            if next(failures):
                raise MemoryError
            return new_cache(capacity)

        monkeypatch.setattr(engine.runner, "new_cache", fail_once)
        with working(engine) as worker:
            first = worker.submit([Order([1], GREEDY)])
            await ended(first)
            assert isinstance(first[0].error, MemoryError)
            second = worker.submit([Order([1], GREEDY)])
            await ended(second)
            assert second[0].finish_reason == "length"

    run(main)


def test_a_worker_that_stops_ends_its_texts_and_takes_no_more(model: GPT2) -> None:
    async def main() -> None:
        engine = GatedEngine(model, most_texts=2)
        noted: list[Writing] = []
        with working(engine, note_end=noted.append) as worker:
            writings = worker.submit([Order([n], GREEDY) for n in range(4)])
            engine.gate.release()
            await change(writings[0])
            engine.gate.release()  # a step whose news may not have come when it stops
            worker.stop()
            assert [writing.finish_reason for writing in writings] == ["cancelled"] * 4
            assert [writing.tokens for writing in writings] == [
                len(writing.text.tokens) for writing in writings
            ]
            assert worker.count == 0
            assert set(noted) == set(writings)
            with pytest.raises(QueueFullError, match="as it stops"):
                worker.submit([Order([1], GREEDY)])
            await asyncio.sleep(0)  # what came too late changes nothing
            assert len(noted) == 4

    run(main)


def test_a_worker_survives_its_event_loop(model: GPT2) -> None:
    workers = []

    async def main() -> None:
        workers.append(Worker(GatedEngine(model), 9, asyncio.get_running_loop()))
        workers[0].submit([Order([1], GREEDY)])

    run(main)
    workers[0].engine.gate.release(99)
    workers[0].stop()
    assert not workers[0]._thread.is_alive()


def test_what_has_ended_is_forgotten(model: GPT2) -> None:
    async def main() -> None:
        with working(Engine(model)) as worker:
            writings = worker.submit([Order([n], GREEDY) for n in range(3)])
            await ended(writings)
            kept = [weakref.ref(writing.text) for writing in writings]
            writings.clear()
            await ended(worker.submit([Order([5], GREEDY)]))
            gc.collect()
            assert [reference() for reference in kept] == [None] * 3

    run(main)


def some_order(chance: random.Random) -> Order:
    prompt = [*[7] * chance.choice([0, 16]), *chance.choices(range(300), k=chance.randrange(1, 8))]
    config = GenerationConfig(
        max_new_tokens=chance.choice([0, 1, 9, 30]),
        temperature=chance.choice([0, 1]),
        seed=chance.randrange(9),
        top_log_probabilities=chance.choice([0, 1, 4]),
        frequency_penalty=chance.choice([0, 0.5]),
    )
    return Order(prompt, config, chance.randrange(2), score_prompt=chance.random() < 0.3)


@pytest.mark.parametrize("seed", range(2))
def test_orders_are_written_alike_alone_and_by_a_busy_worker(model: GPT2, seed: int) -> None:
    chance = random.Random(seed)
    orders = [some_order(chance) for _ in range(12)]
    expected = [alone(model, order) for order in orders]

    async def main() -> None:
        with working(Engine(model, most_texts=64), most=128) as worker:

            async def ask(turns: int) -> None:
                for _ in range(turns):
                    number = chance.randrange(len(orders))
                    [writing] = worker.submit([orders[number]])
                    leaves = chance.random() < 0.3
                    await change(writing) if leaves else await ended([writing])
                    if leaves:
                        worker.cancel([writing])
                        await ended([writing])
                    check(writing, expected[number])

            await asyncio.gather(*(ask(4) for _ in range(64)))
            assert worker.count == 0
            assert worker.engine.load[:2] == (0, 0)

    run(main)


def check(writing: Writing, expected: Continuation) -> None:
    text = writing.text
    assert writing.tokens == len(text.tokens)
    if writing.finish_reason == "cancelled":
        assert text.tokens == expected.tokens[: writing.tokens]
    else:
        assert writing.finish_reason == expected.finish_reason
        assert text.tokens == expected.tokens
        assert text.pieces == expected.pieces
    if writing.prompt_is_read:
        assert text.prompt_tokens == expected.prompt_tokens
