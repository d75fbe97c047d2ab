"""Tokens are reported with the log-probabilities of the network, those of prompts, too."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gpt2.config import GenerationConfig, GPT2Config
from gpt2.errors import InputError
from gpt2.files.pretrained import GPT2
from gpt2.generation.continuation import Continuation
from gpt2.generation.engine import Engine
from gpt2.generation.log_probabilities import Token, largest_logits, report
from gpt2.generation.runner import Logits
from gpt2.generation.runners import Precision

INF = float("inf")
SCORE = GenerationConfig(max_new_tokens=0, top_log_probabilities=3)


def logits_of(values: torch.Tensor) -> Logits:
    largest, likeliest = values.max(dim=-1)
    normalizers = values.logsumexp(dim=-1).tolist()
    return Logits(values, likeliest.tolist(), largest.tolist(), normalizers)


def test_log_probabilities_are_those_of_the_softmax() -> None:
    logits = logits_of(torch.tensor([[1.0, 2.0, 1.0, 4.0], [5.0, 1.0, 1.0, 1.0]]).log())
    first, second = report(logits, 0, [1, 0], 2)
    assert first.log_probability == pytest.approx(np.log(2 / 8))
    assert first.likeliest == ((3, pytest.approx(np.log(4 / 8))), (1, first.log_probability))
    assert second == Token(0, pytest.approx(np.log(5 / 8)), second.likeliest)
    assert second.likeliest == ((0, second.log_probability), (1, pytest.approx(np.log(1 / 8))))
    assert report(logits, 1, [0], 0) == [Token(0, second.log_probability)]


def test_a_tokens_log_probability_is_the_same_float_among_the_likeliest() -> None:
    values = 9 * torch.randn(70, 50, generator=torch.Generator().manual_seed(0))
    logits = logits_of(values)
    for count in (1, 2, 50):
        for ids in (logits.likeliest, [number % 50 for number in range(70)]):
            for token in report(logits, 0, ids, count):
                among = dict(token.likeliest)
                assert len(among) == count
                assert among.get(token.id, token.log_probability) == token.log_probability
                assert max(among.values()) >= token.log_probability


def test_the_largest_come_in_order_and_of_equals_the_lowest_id_first() -> None:
    logits = torch.tensor([[1.0, 2.0, 1.0, 0.0, 4.0, 1.0], [3.0, 0.0, 0.0, 3.0, 3.0, 5.0]]).log()
    first, second = largest_logits(logits, 4)
    assert [token for token, _ in first] == [4, 1, 0, 2]
    assert [value for _, value in first] == pytest.approx(np.log([4, 2, 1, 1]))
    assert [token for token, _ in second] == [5, 0, 3, 4]
    assert [[token for token, _ in row] for row in largest_logits(logits, 99)] == [
        [4, 1, 0, 2, 5],  # -inf is left out
        [5, 0, 3, 4],
    ]


def test_gradients_change_no_report() -> None:
    values = torch.randn(3, 9, generator=torch.Generator().manual_seed(0))
    assert largest_logits(values.clone().requires_grad_(), 3) == largest_logits(values, 3)


@pytest.fixture
def wide() -> GPT2:
    """A model of 70 positions, and of more ids than the compiled pass looks through at once."""
    config = GPT2Config(
        vocab_size=4999, n_positions=70, n_embd=32, n_layer=2, n_head=4, initializer_range=0.4
    )
    return GPT2(config, seed=1).eval()


def some_ids(count: int, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 4999, (count,), generator=generator).tolist()


def finish(engine: Engine) -> None:
    while engine.busy:
        engine.step()


def scored(
    model: GPT2, ids: list[int], config: GenerationConfig = SCORE, precision: Precision = "auto"
) -> Continuation:
    engine = Engine(model, most_texts=1, precision=precision)
    text = engine.submit(ids, config, score_prompt=True)
    finish(engine)
    return text


def test_a_prompt_scored_by_hand(wide: GPT2) -> None:
    nn.init.zeros_(wide.ln_f.weight)  # so that the logits are 0 but for one id: 3 everywhere
    nn.init.zeros_(wide.wte.weight)
    wide.wte.weight.data[7, 0] = 1.0
    wide.ln_f.bias.data[0] = 3.0
    text = scored(wide, [5, 7, 6, 7], replace(SCORE, top_log_probabilities=2))
    total = np.log(np.exp(3) + 4998)
    likely, unlikely = pytest.approx(3 - total, abs=1e-5), pytest.approx(-total, abs=1e-5)
    top = ((7, likely), (0, unlikely))
    assert text.prompt_tokens == [
        Token(7, likely, top),
        Token(6, unlikely, top),
        Token(7, likely, top),
    ]
    assert (text.tokens, text.finish_reason) == ([], "length")


@pytest.mark.parametrize("attention", ["flash", "manual"])
@pytest.mark.parametrize("most_tokens", [1, 2, 33, 34, 35, 256])
@pytest.mark.parametrize("length", [1, 2, 35, 69, 70])
def test_prompts_have_the_networks_log_probabilities_in_whatever_pieces_they_are_read(
    wide: GPT2, attention: str, most_tokens: int, length: int
) -> None:
    ids = some_ids(length)
    with torch.inference_mode():
        expected = wide(torch.tensor([ids]))[0].log_softmax(-1)
    wide.set_attention(attention)  # manual: by the network instead of the compiled pass
    engine = Engine(wide)
    engine.runner.most_tokens = most_tokens
    text = engine.submit(ids, replace(SCORE, max_new_tokens=3), score_prompt=True)
    finish(engine)
    assert [token.id for token in text.prompt_tokens] == ids[1:]
    for row, token in enumerate(text.prompt_tokens):
        assert token.log_probability == pytest.approx(expected[row, token.id].item(), abs=1e-4)
        best = expected[row].topk(3)
        assert [i for i, _ in token.likeliest] == best.indices.tolist()
        assert [p for _, p in token.likeliest] == pytest.approx(best.values.tolist(), abs=1e-4)
    assert len(text.tokens) == 3
    assert text.tokens[0].log_probability == pytest.approx(
        expected[-1, text.tokens[0].id].item(), abs=1e-4
    )


def test_scoring_a_prompt_changes_no_new_token(wide: GPT2) -> None:
    config = GenerationConfig(max_new_tokens=20, seed=3, top_log_probabilities=2)
    engine = Engine(wide)
    text = engine.submit(some_ids(60), config)
    finish(engine)
    assert text.tokens == scored(wide, some_ids(60), config).tokens
    assert text.prompt_tokens == []


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8", "int4"])
def test_scores_are_the_same_to_the_bit_alone_and_beside_others(
    wide: GPT2, precision: Precision
) -> None:
    prompts = [some_ids(length, seed=length) for length in (70, 1, 2, 40, 69)]
    prompts += [[*prompts[0][:50], n] for n in range(3)]  # of which a cache has most
    engine = Engine(wide, most_texts=3, precision=precision)
    engine.runner.most_tokens = 50
    others = [engine.submit(prompts[0], replace(SCORE, max_new_tokens=9, seed=0))]
    texts = []
    for ids in prompts:
        texts.append(engine.submit(ids, SCORE, score_prompt=True))
        others.append(engine.submit(ids[:30], replace(SCORE, max_new_tokens=9, seed=0)))
    finish(engine)
    for text in texts:
        alone = scored(wide, text.prompt_ids, precision=precision)
        assert text.prompt_tokens == alone.prompt_tokens
        assert len(text.prompt_tokens) == len(text.prompt_ids) - 1


def test_a_step_reports_a_text_only_when_its_prompt_has_been_read(wide: GPT2) -> None:
    engine = Engine(wide)
    engine.runner.most_tokens = 30
    text = engine.submit(some_ids(65), replace(SCORE, max_new_tokens=2), score_prompt=True)
    seen = []
    while engine.busy:
        changed = engine.step()
        assert changed == ([text] if text.prompt_is_read else [])
        seen.append((len(text.prompt_tokens), text.prompt_is_read, len(text.tokens)))
    assert seen == [(30, False, 0), (60, False, 0), (64, True, 1), (64, True, 2)]


@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_step_that_failed_is_taken_again_without_a_score_lost(
    wide: GPT2, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(wide)
    engine.runner.most_tokens = 30
    text = engine.submit(some_ids(70), SCORE, score_prompt=True)
    for _ in range(step):
        engine.step()
    with monkeypatch.context() as patched:
        patched.setattr(Continuation, "draw", interrupt)
        with pytest.raises(KeyboardInterrupt):
            engine.step()
    finish(engine)
    assert text.prompt_tokens == scored(wide, some_ids(70)).prompt_tokens


def interrupt(*args: Any) -> None:
    raise KeyboardInterrupt


def test_a_prompt_that_is_not_scored_may_be_read_alone(wide: GPT2) -> None:
    engine = Engine(wide)
    text = engine.submit(some_ids(5), SCORE)
    assert engine.step() == [text]
    assert (text.prompt_tokens, text.tokens, text.finish_reason) == ([], [], "length")


def test_a_prompt_to_score_that_is_too_long_is_refused(wide: GPT2) -> None:
    with pytest.raises(InputError, match="a prompt to score must have up to 70 tokens, got 71"):
        Engine(wide).submit(some_ids(71), SCORE, score_prompt=True)


def test_ids_that_no_token_has_are_never_likely(gapped_model: GPT2) -> None:
    text = scored(gapped_model, [5, 300, 7], replace(SCORE, top_log_probabilities=420))
    assert text.prompt_tokens[0].log_probability == -INF
    assert text.prompt_tokens[1].log_probability > -INF
    for token in text.prompt_tokens:
        assert len(token.likeliest) == 420 - len(gapped_model.unused_ids)
