"""The engine's promises: a text depends on its prompt and settings alone; memory has a bound."""

import random
import threading
import tracemalloc
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from gpt2.config import GenerationConfig, GPT2Config
from gpt2.errors import ConfigError, InputError, NotFiniteError
from gpt2.files.pretrained import GPT2
from gpt2.generation.continuation import Continuation
from gpt2.generation.engine import Engine
from gpt2.generation.generate import generate, stream
from gpt2.generation.torch_runner import TorchRunner

GREEDY = GenerationConfig(max_new_tokens=12, temperature=0)
SAMPLED = GenerationConfig(max_new_tokens=12, seed=7, top_k=20)


@pytest.fixture
def lively() -> GPT2:
    """A model of 24 positions whose greedy texts are no plain repetitions, without a tokenizer."""
    config = GPT2Config(
        vocab_size=97, n_positions=24, n_embd=32, n_layer=2, n_head=4, initializer_range=0.4
    )
    return GPT2(config, seed=1).eval()


def finish(engine: Engine) -> None:
    while engine.busy:
        engine.step()


def alone(model: GPT2, ids: list[int], config: GenerationConfig, sample: int = 0) -> list[int]:
    engine = Engine(model, most_texts=1)
    text = engine.submit(ids, config, sample)
    finish(engine)
    return text.ids


def greedily(model: GPT2, ids: list[int], count: int) -> list[int]:
    """Continue by the network, without a cache; by the rule for long texts."""
    context, new = list(ids), []
    most = model.config.n_positions
    for _ in range(count):
        if len(context) > most:
            context = context[-(most - most // 4) :]
        token = int(model(torch.tensor([context]))[0, -1].argmax())
        context.append(token)
        new.append(token)
    return new


@pytest.mark.parametrize("attention", ["flash", "manual"])
@pytest.mark.parametrize("length", [1, 5, 23, 24, 25, 40])
def test_greedy_texts_are_those_of_the_network_also_beyond_n_positions(
    lively: GPT2, attention: str, length: int
) -> None:
    prompt = list(range(length))
    expected = greedily(lively, prompt, 60)
    lively.set_attention(attention)  # manual: by the network instead of the compiled pass
    engine = Engine(lively)
    text = engine.submit(prompt, replace(GREEDY, max_new_tokens=60))
    assert text.restarts == (length > 24)
    finish(engine)
    assert text.ids == expected
    assert text.restarts > 0


def test_texts_of_unequal_lengths_are_those_that_each_is_alone(lively: GPT2) -> None:
    prompts = [[i % 97 for i in range(7 * n, 7 * n + n)] for n in range(1, 21)]
    for config in (GREEDY, SAMPLED):
        engine = Engine(lively, most_texts=6)
        texts = [engine.submit(ids, config) for ids in prompts]
        finish(engine)
        assert [text.ids for text in texts] == [alone(lively, ids, config) for ids in prompts]


def test_the_first_sample_is_the_same_of_one_and_of_five(model: GPT2) -> None:
    one = generate(model, ["a"], SAMPLED)
    five = generate(model, ["b", "a"], replace(SAMPLED, num_samples=5))
    assert five[5] == one[0]
    assert len({tuple(sample.ids) for sample in five[5:]}) == 5


def test_draws_do_not_depend_on_the_runner(model: GPT2) -> None:
    compiled = generate(model, ["Permission"], SAMPLED)
    model.set_attention("manual")
    [by_network] = generate(model, ["Permission"], SAMPLED)
    assert by_network.ids == compiled[0].ids


def test_drafting_changes_no_token_and_saves_passes(lively: GPT2) -> None:
    prompt = [1, 2, 3, 4, 5, 6] * 2
    for config in (GREEDY, replace(SAMPLED, temperature=0.4)):
        engine = Engine(lively)
        config = replace(config, max_new_tokens=60)
        text = engine.submit(prompt, config)
        finish(engine)
        assert text.ids == alone(lively, prompt, replace(config, draft=False))
    nn.init.zeros_(lively.ln_f.weight)  # now every token is followed by one and the same
    lively.ln_f.bias.data = lively.wte.weight[50].detach().clone()
    engine = Engine(lively)
    text, passes = engine.submit(prompt, replace(GREEDY, max_new_tokens=12)), 0
    while engine.busy:
        engine.step()
        passes += 1
    assert text.ids == [50] * 12
    assert passes < 12


def test_a_text_that_is_alone_only_later_guesses_from_all_of_it(lively: GPT2) -> None:
    nn.init.zeros_(lively.ln_f.weight)  # every token is followed by one and the same
    lively.ln_f.bias.data = lively.wte.weight[50].detach().clone()
    engine = Engine(lively)
    text = engine.submit([1, 2, 3], replace(GREEDY, max_new_tokens=20))
    engine.submit([4, 5, 6], replace(GREEDY, max_new_tokens=6))
    for count in range(1, 7):  # beside the other one nothing is guessed
        engine.step()
        assert len(text.ids) == count
    engine.step()
    assert len(text.ids) > 7
    finish(engine)
    assert text.ids == [50] * 20


def test_a_text_that_waits_takes_little_more_memory_than_its_tokens(lively: GPT2) -> None:
    engine, chance = Engine(lively), random.Random(0)
    prompts = [chance.choices(range(97), k=1000) for _ in range(20)]
    engine.submit(prompts[0], GREEDY)
    tracemalloc.start()
    try:
        for prompt in prompts:
            engine.submit(prompt, GREEDY)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 32_000 * len(prompts)  # two lists of 1000 tokens are half of that


def test_requests_join_while_others_run_and_come_to_the_same(lively: GPT2) -> None:
    engine = Engine(lively, most_texts=3)
    texts: list[Continuation] = []
    prompts = [[n, n + 1, n + 2] for n in range(9)]
    for ids in prompts:
        texts.append(engine.submit(ids, GREEDY))
        engine.step()
        engine.step()
    finish(engine)
    assert [text.ids for text in texts] == [alone(lively, ids, GREEDY) for ids in prompts]


def test_each_step_gives_every_running_text_a_token(lively: GPT2) -> None:
    engine = Engine(lively, most_texts=4)
    texts = [engine.submit([n, 1], replace(GREEDY, max_new_tokens=5)) for n in range(4)]
    for count in range(1, 6):
        assert set(engine.step()) == set(texts)
        assert [len(text.tokens) for text in texts] == [count] * 4
    assert [text.finish_reason for text in texts] == ["length"] * 4
    assert not engine.busy


def test_a_cancelled_text_ends_and_leaves_the_others_alone(lively: GPT2) -> None:
    engine = Engine(lively, most_texts=2)
    texts = [engine.submit([n, n, 3], GREEDY) for n in range(4)]
    engine.step()
    texts[0].cancelled = texts[3].cancelled = True  # one runs, one waits
    assert {texts[0], texts[3]} <= set(engine.step())
    finish(engine)
    assert [text.finish_reason for text in texts] == ["cancelled", "length", "length", "cancelled"]
    assert [len(text.tokens) for text in texts] == [1, 12, 12, 0]
    assert texts[1].ids == alone(lively, [1, 1, 3], GREEDY)


def test_a_common_beginning_is_read_once(lively: GPT2) -> None:
    engine = Engine(lively)
    counted: list[int] = []
    run = engine.runner.run
    engine.runner.run = lambda pieces: (  # type: ignore[method-assign]
        counted.append(sum(len(piece.ids) for piece in pieces)) or run(pieces)
    )
    prefix = list(range(18))
    config = replace(GREEDY, max_new_tokens=2, draft=False)
    texts = [engine.submit([*prefix, n], config) for n in (5, 6, 7)]
    finish(engine)
    again = engine.submit([*prefix, 5, *texts[0].ids], config)  # goes on from a finished one
    finish(engine)
    # 19 tokens of the first; beside its second, one each of the others; their second; 2 more: of
    # the prompt the last two, of which one was drawn and not yet read; and one.
    assert counted[:3] == [19, 3, 2]
    assert sum(counted[3:]) <= 3
    for text in (*texts, again):
        assert text.ids == alone(lively, text.prompt_ids, config)


def test_memory_has_a_bound_and_what_cannot_fit_is_refused(lively: GPT2) -> None:
    whole = Engine(lively).runner.bytes_of(24)
    engine = Engine(lively, memory=2 * whole)
    texts = [engine.submit([n, 1, 2], replace(GREEDY, max_new_tokens=21)) for n in range(5)]
    while engine.busy:
        engine.step()
        assert len([text for text in texts if text.cache is not None]) <= 2
    assert [len(text.tokens) for text in texts] == [21] * 5
    small = Engine(lively, memory=whole - 1)
    with pytest.raises(InputError, match=r"a text of 24 tokens needs .* MB .*, the engine has"):
        small.submit([1, 2, 3], replace(GREEDY, max_new_tokens=21))


def test_many_prompts_with_random_cancels_all_come_to_an_end(lively: GPT2) -> None:
    chance = random.Random(0)
    engine = Engine(lively, most_texts=5, memory=4 * Engine(lively).runner.bytes_of(24))
    texts = []
    for number in range(120):
        prompt = [chance.randrange(97) for _ in range(chance.randrange(1, 30))]
        config = GenerationConfig(
            max_new_tokens=chance.randrange(1, 30), seed=number, temperature=chance.choice([0, 1])
        )
        texts.append(engine.submit(prompt, config))
        if chance.random() < 0.3:
            chance.choice(texts).cancelled = True
        if chance.random() < 0.5:
            engine.step()
    finish(engine)
    for text in texts:
        expected = alone(lively, text.prompt_ids, text.config)
        assert text.finish_reason in ("length", "cancelled")
        assert text.ids == expected[: len(text.ids)]
        if text.finish_reason == "length":
            assert len(text.ids) == text.config.max_new_tokens


def test_requests_come_from_other_threads(lively: GPT2) -> None:
    engine = Engine(lively)
    texts: list[Continuation] = []
    threads = [
        threading.Thread(target=lambda n=n: texts.append(engine.submit([n, 2], GREEDY)))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    finish(engine)
    for text in texts:
        assert text.ids == alone(lively, text.prompt_ids, GREEDY)


def test_stop_strings_and_stop_ids_end_a_text(model: GPT2) -> None:
    [free] = generate(model, ["Permission"], replace(SAMPLED, max_new_tokens=30))
    stop = free.text[9:12]
    [cut] = generate(model, ["Permission"], replace(SAMPLED, max_new_tokens=30, stop=(stop,)))
    assert cut.text == free.text[: free.text.index(stop)]
    assert cut.finish_reason == "stop"
    assert cut.ids == free.ids[: len(cut.ids)]
    token = free.ids[5]
    [cut] = generate(model, ["Permission"], replace(SAMPLED, max_new_tokens=30, stop_ids=(token,)))
    assert cut.ids == free.ids[: free.ids.index(token)]
    assert cut.finish_reason == "stop"


def test_the_end_of_text_may_be_ignored(model: GPT2) -> None:
    nn.init.zeros_(model.ln_f.weight)
    model.ln_f.bias.data = model.wte.weight[299].detach().clone()
    model.wte.weight.data[299] *= 5
    [sample] = generate(model, ["a"], replace(GREEDY, ignore_end=True))
    assert sample.ids == [299] * 12
    assert sample.finish_reason == "length"


def test_likeliest_tokens_are_reported_with_their_log_probabilities(model: GPT2) -> None:
    [sample] = generate(model, ["a"], replace(GREEDY, top_log_probabilities=3))
    for token, log_probability, top in zip(
        sample.ids, sample.log_probabilities, sample.likeliest, strict=True
    ):
        assert top[0] == (token, pytest.approx(log_probability, abs=1e-5))
        assert len(top) == 3
        assert all(above[1] >= below[1] for above, below in pairwise(top))


def test_a_stream_has_the_text_of_the_sample(model: GPT2) -> None:
    [sample] = generate(model, ["a"], SAMPLED)
    assert "".join(stream(model, "a", SAMPLED)) == sample.text


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8", "int4"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["wpe.weight", "h.1.ln_2.bias", "h.0.mlp.c_fc.bias"])
def test_a_model_that_has_diverged_is_told(
    lively: GPT2, precision: Any, value: float, where: str
) -> None:
    lively.state_dict()[where].view(-1)[3] = value
    engine = Engine(lively, precision=precision)
    text = engine.submit([5], GREEDY)
    with pytest.raises(NotFiniteError, match="its weights have diverged"):
        engine.step()
    with pytest.raises(NotFiniteError, match="its weights have diverged"):
        engine.step()  # and again, nothing else
    assert text.tokens == []


def test_what_an_engine_cannot_take_is_refused(lively: GPT2) -> None:
    engine = Engine(lively)
    for ids, told in (
        ([], "at least one token, got none"),
        ([-1], "from 0 to 96, got -1"),
        ([97], "from 0 to 96, got 97"),
    ):
        with pytest.raises(InputError, match=told):
            engine.submit(ids, GREEDY)
    assert not engine.busy
    with pytest.raises(InputError, match="stop_ids must be 0 to 96, got 97"):
        engine.submit([1], replace(GREEDY, stop_ids=(5, 97)))
    with pytest.raises(ConfigError, match="most_texts must be at least 1, got 0"):
        Engine(lively, most_texts=0)
    with pytest.raises(ConfigError, match=r"threads must be 1 to \d+ here, got 99999"):
        Engine(lively, threads=99999)


def test_the_networks_slots_fit_the_memory(lively: GPT2) -> None:
    lively.set_attention("manual")
    slot = Engine(lively, most_texts=1).runner.bytes_of(24)
    runner = Engine(lively, most_texts=64, memory=3 * slot + 1).runner
    assert isinstance(runner, TorchRunner)
    assert runner.memory.nbytes == 3 * slot
    with pytest.raises(ConfigError, match=f"memory must be at least {slot:,} bytes"):
        Engine(lively, memory=slot - 1)


def test_a_text_that_waits_takes_little_memory(model: GPT2) -> None:
    config = replace(GREEDY, repetition_penalty=1.2, frequency_penalty=0.5, logit_bias={1: 2.0})
    engine = Engine(model, most_texts=1)
    texts = [engine.submit([number], config) for number in range(2)]
    engine.step()
    assert not any(isinstance(value, torch.Tensor) for value in vars(texts[1]._sampler).values())
    finish(engine)
    assert sum(isinstance(value, torch.Tensor) for value in vars(texts[1]._sampler).values()) == 3


def test_text_that_was_held_back_comes_when_a_stop_id_ends_it(model: GPT2) -> None:
    [free] = generate(model, ["Permission"], replace(SAMPLED, max_new_tokens=30))
    before, token = free.ids[:4], free.ids[4]
    assert token not in before
    held = model.tokenizer.decode(before)[-1]  # may begin the stop string
    how = replace(SAMPLED, max_new_tokens=30, stop=(held + "never",), stop_ids=(token,))
    [sample] = generate(model, ["Permission"], how)
    assert sample.text == model.tokenizer.decode(before)


def test_the_network_itself_keeps_the_same_promises(lively: GPT2) -> None:
    lively.set_attention("manual")
    whole = Engine(lively).runner.bytes_of(24)
    engine = Engine(lively, most_texts=3, memory=100 * whole)
    prefix = list(range(18))
    prompts = [[*prefix, 20 + n] for n in range(5)] + [[n] for n in range(5)]
    texts = [engine.submit(ids, GREEDY) for ids in prompts]
    engine.step()
    texts[1].cancelled = True
    finish(engine)
    for text, ids in zip(texts, prompts, strict=True):
        expected = greedily(lively, ids, 12)
        assert text.ids == expected[: len(text.ids)]
        assert len(text.ids) == 12 or text.finish_reason == "cancelled"


def test_a_text_that_waits_for_anothers_beginning_lets_others_pass(lively: GPT2) -> None:
    engine = Engine(lively, most_texts=3)
    engine.runner.most_tokens = 8
    prefix = list(range(20))
    texts = [engine.submit(ids, GREEDY) for ids in ([*prefix, 5], [*prefix, 6], [7, 8], [9])]
    engine.step()
    assert [text.cache is not None for text in texts] == [True, False, True, False]
    finish(engine)
    for text in texts:
        assert text.ids == alone(lively, text.prompt_ids, GREEDY)


def test_a_long_prompt_is_read_though_short_ones_keep_coming(lively: GPT2) -> None:
    engine = Engine(lively, most_texts=3)
    engine.runner.most_tokens = 8
    config = replace(GREEDY, max_new_tokens=1)
    long = engine.submit(list(range(24)), config)
    passes = 0
    while not long.finish_reason:
        engine.submit([passes, 1, 2, 3, 4, 5, 6, 7], config)
        engine.submit([passes, 9, 2, 3, 4, 5, 6, 7], config)
        engine.step()
        passes += 1
        assert passes <= 12  # at least a quarter of each pass
    assert long.ids == alone(lively, long.prompt_ids, config)


def test_the_load_counts_texts_and_the_bytes_of_their_caches(lively: GPT2) -> None:
    engine = Engine(lively, most_texts=2)
    whole = engine.runner.bytes_of(24)
    assert engine.load == (0, 0, 0, 2 * whole)
    texts = [engine.submit([n, 1, 2], replace(GREEDY, max_new_tokens=21)) for n in range(3)]
    engine.step()
    assert engine.load[:3] == (2, 1, 2 * whole)
    texts[0].cancelled = texts[2].cancelled = True
    engine.step()
    assert engine.load[:3] == (1, 0, 2 * whole)  # the cache of the cancelled one is kept
    engine.abandon()
    assert engine.load[:3] == (0, 0, whole)


@pytest.mark.parametrize("attention", ["flash", "manual"])
def test_thousands_of_texts_leave_no_more_memory_than_the_bound(
    lively: GPT2, attention: str
) -> None:
    lively.set_attention(attention)
    engine = Engine(lively, most_texts=8)
    for number in range(1000):
        ids = [number % 90, number % 7] * 9
        engine.submit(ids, replace(GREEDY, max_new_tokens=1))
        if number % 8 == 0:
            finish(engine)
        assert engine.load.cache_bytes <= engine.load.most_cache_bytes
    finish(engine)
    kept = len(engine._finished)
    assert kept == len(engine._prefixes._keys) <= 16
    assert engine.load.cache_bytes == kept * engine.runner.bytes_of(19)
