"""The same request gives the same text to the bit, alone or among 63 others, whatever is cached."""

import random
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from gpt2.config import GenerationConfig
from gpt2.files.pretrained import GPT2
from gpt2.generation.continuation import Continuation
from gpt2.generation.engine import Engine
from gpt2.generation.runners import Precision

POSITIONS = 96
VOCABULARY = 300
PREFIXES = [[number] * 16 + list(range(40)) for number in range(3)]


@dataclass(frozen=True)
class Request:
    prompt_ids: list[int]
    config: GenerationConfig
    sample: int = 0
    score_prompt: bool = False

    def to(self, engine: Engine) -> Continuation:
        return engine.submit(
            self.prompt_ids, self.config, self.sample, score_prompt=self.score_prompt
        )


@dataclass
class Load:
    """Random requests to an engine, which join, leave and are cancelled."""

    engine: Engine
    chance: random.Random
    texts: list[Continuation] = field(default_factory=list)

    def change(self) -> None:
        running = [text for text in self.texts if not text.finish_reason]
        while len(running) < 63:
            running.append(some_request(self.chance).to(self.engine))
        for text in self.chance.sample(running, self.chance.choice([0, 0, 1, 5])):
            text.cancelled = True
        self.texts = running


@pytest.fixture
def model(model: GPT2) -> GPT2:
    """The model of the suite with more positions than a beginning that is shared."""
    config = replace(model.config, n_positions=POSITIONS)
    longer = GPT2(config, tokenizer=model.tokenizer, seed=1).eval()
    for parameter in longer.parameters():
        parameter.data.mul_(4.0)
    return longer


def some_request(chance: random.Random) -> Request:
    prompt = chance.choice([[], *PREFIXES])[: chance.randrange(57)]
    prompt = [*prompt, *(chance.randrange(VOCABULARY) for _ in range(chance.randrange(1, 40)))]
    how: dict[str, Any] = chance.choice(
        [
            {"temperature": 0},
            {"temperature": 0, "top_log_probabilities": 1},
            {"temperature": 0, "frequency_penalty": 0.7, "presence_penalty": 0.4},
            {"temperature": 0, "stop": ("e", "th")},
            {},
            {"top_p": 0.9, "top_log_probabilities": 5},
            {"top_k": 20, "repetition_penalty": 1.3},
            {"min_p": 0.05, "temperature": 0.7, "logit_bias": {5: 3.0}, "ignore_end": True},
        ]
    )
    how |= {"max_new_tokens": chance.choice([0, 3, 12, 40]), "seed": chance.randrange(9)}
    return Request(
        prompt, GenerationConfig(**how), chance.randrange(3), score_prompt=chance.random() < 0.3
    )


def outcome(text: Continuation) -> dict[str, Any]:
    return {
        "prompt": text.prompt_tokens,
        "tokens": text.tokens,
        "pieces": text.pieces,
        "reason": text.finish_reason,
    }


def alone(model: GPT2, request: Request, precision: Precision) -> dict[str, Any]:
    engine = Engine(model, precision=precision, most_texts=1)
    text = request.to(engine)
    while engine.busy:
        engine.step()
    return outcome(text)


@pytest.mark.parametrize(
    ("precision", "memory"), [("float32", 64), ("bfloat16", 6), ("int8", 64), ("int4", 6)]
)
def test_requests_give_the_same_among_many_others_and_from_a_cache(
    model: GPT2, precision: Precision, memory: int
) -> None:
    chance = random.Random(memory)
    size = Engine(model).runner.bytes_of(POSITIONS)
    engine = Engine(model, precision=precision, most_texts=64, memory=memory * size)
    load = Load(engine, chance)
    requests = [some_request(chance) for _ in range(8)]
    expected = [alone(model, request, precision) for request in requests]
    for _ in range(2):
        texts = [request.to(engine) for request in chance.sample(requests, 8)]
        while not all(text.finish_reason for text in texts):
            load.change()
            engine.step()
        found = [outcome(text) for text in texts]
        assert all(one in expected for one in found)
        assert all(one in found for one in expected)


def test_requests_that_come_together_in_any_order_give_the_same(model: GPT2) -> None:
    chance = random.Random(5)
    requests = [some_request(chance) for _ in range(64)]
    found = []
    for _ in range(3):
        engine = Engine(model, most_texts=chance.choice([5, 64]))
        engine.runner.most_tokens = chance.choice([70, 256])
        order = chance.sample(range(64), 64)
        texts = {number: requests[number].to(engine) for number in order}
        while engine.busy:
            engine.step()
        found.append([outcome(texts[number]) for number in range(64)])
    assert found[0] == found[1] == found[2]
    assert [outcome_["reason"] for outcome_ in found[0]].count("cancelled") == 0
