from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
import transformers as peer
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gpt2.config import GenerationConfig
from gpt2.errors import InputError
from gpt2.generation.sampling import (
    Sampler,
    divide_by_temperature,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalize_frequency,
    penalize_presence,
    penalize_repetition,
    token_bias,
)

INF = float("-inf")
# What a chi-squared statistic of 1, 2, ... degrees of freedom exceeds once in a thousand times.
CRITICAL = (10.83, 13.82, 16.27, 18.47, 20.52, 22.46, 24.32)
DRAWS = 10_000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_logits(vocab_size: int = 1000, rows: int = 3) -> Tensor:
    return 3 * torch.randn(rows, vocab_size, generator=seeded())


def sampler(
    vocab_size: int, *, sample: int = 0, prompt: Sequence[int] = (), **how: object
) -> Sampler:
    config = GenerationConfig(**{"seed": 5} | how)
    return Sampler(config, prompt, sample=sample, vocab_size=vocab_size)


def test_top_k_keeps_the_largest_and_masks_the_rest() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0, 0.0], [5.0, 5.0, 4.0, 6.0]])
    assert keep_top_k(logits, 2).tolist() == [[INF, 3.0, 2.0, INF], [5.0, 5.0, INF, 6.0]]
    assert keep_top_k(logits, 9).equal(logits)


@pytest.mark.parametrize(
    ("p", "kept"),
    [
        (0.0, [False, True, False, False, False]),
        (0.4, [False, True, False, False, False]),
        (0.6, [False, True, True, False, False]),
        (0.8, [True, True, True, False, True]),  # three are equal, and one of them reaches p
        (0.96, [True, True, True, True, True]),
        (1.0, [True, True, True, True, True]),
    ],
)
def test_top_p_keeps_the_likeliest_that_together_reach_p(p: float, kept: list[bool]) -> None:
    logits = torch.tensor([[0.1, 0.5, 0.25, 0.05, 0.1], [1, 1, 1, 1, 1]]).log()
    assert (keep_top_p(logits, p) > INF).tolist() == [kept, 5 * [True]]
    assert keep_top_p(logits, p)[0, kept].equal(logits[0, kept])


@pytest.mark.parametrize("p", [0.3, 0.7, 0.8, 0.9999])
def test_a_nucleus_beyond_the_likeliest_thousands_is_exact(p: float) -> None:
    logits = random_logits(20_000).double() / 6
    probabilities = logits.softmax(-1).numpy()
    for row, kept in zip(probabilities, (keep_top_p(logits, p) > INF).numpy(), strict=True):
        assert row[kept].sum() >= p > row[kept].sum() - row[kept].min()
        assert row[kept].min() > row[~kept].max()


def test_a_nucleus_of_all_keeps_even_a_token_that_no_sum_shows() -> None:
    logits = torch.tensor([[0.0, -200.0]])
    assert keep_top_p(logits, 1.0).equal(logits)


def test_min_p_keeps_what_is_at_least_p_times_as_likely_as_the_likeliest() -> None:
    logits = torch.tensor([[0.0, 4.0, 3.0, 4.0], [1.0, 1.0, 1.0, 1.0]])  # e ** -1 is 0.368
    assert keep_min_p(logits, 0.36).tolist() == [[INF, 4.0, 3.0, 4.0], [1.0, 1.0, 1.0, 1.0]]
    assert keep_min_p(logits, 0.37).tolist() == [[INF, 4.0, INF, 4.0], [1.0, 1.0, 1.0, 1.0]]
    assert keep_min_p(logits, 1.0).tolist() == [[INF, 4.0, INF, 4.0], [1.0, 1.0, 1.0, 1.0]]
    assert keep_min_p(logits, 0.0).equal(logits)


def test_a_repetition_divides_positive_logits_and_multiplies_negative_ones() -> None:
    logits = torch.tensor([[3.0, -3.0, 3.0, 0.0, INF]])
    seen = torch.tensor([[True, True, False, True, True]])
    assert penalize_repetition(logits, seen, 1.5).tolist() == [[2.0, -4.5, 3.0, 0.0, INF]]


def test_presence_is_subtracted_once_and_frequency_for_each_token() -> None:
    logits, counts = torch.tensor([[1.0, 2.0, INF]]), torch.tensor([[0.0, 3.0, 3.0]])
    assert penalize_presence(logits, counts, 0.5).tolist() == [[1.0, 1.5, INF]]
    assert penalize_frequency(logits, counts, 0.5).tolist() == [[1.0, 0.5, INF]]
    assert penalize_frequency(logits, counts, -0.5).tolist() == [[1.0, 3.5, INF]]


def test_a_bias_is_added_to_its_token_and_no_bias_frees_a_banned_one() -> None:
    assert token_bias({1: 2.5, 3: -1.0, 2: 50.0}, [2], 5).tolist() == [0.0, 2.5, INF, -1.0, 0.0]


@pytest.mark.parametrize("token", [5, 50_257])
def test_a_bias_of_no_token_is_an_error(token: int) -> None:
    with pytest.raises(InputError, match=f"logit_bias .* ids from 0 to 4, got {token}"):
        token_bias({token: 1.0}, [], 5)


def test_a_temperature_divides_what_the_logits_lack_to_the_largest() -> None:
    logits = torch.tensor([[1.0, 3.0], [0.0, -8.0]])
    assert divide_by_temperature(logits, 2.0).tolist() == [[-1.0, 0.0], [0.0, -4.0]]


@pytest.mark.parametrize(
    "filter_",
    [
        lambda logits: keep_top_k(logits, 5),
        lambda logits: keep_top_p(logits, 0.9),
        lambda logits: keep_min_p(logits, 0.1),
        lambda logits: penalize_repetition(logits, logits > 1, 1.2),
        lambda logits: penalize_presence(logits, logits > 1, 0.5),
        lambda logits: penalize_frequency(logits, logits > 1, 0.5),
        lambda logits: divide_by_temperature(logits, 0.5),
    ],
)
def test_a_filter_leaves_its_argument_as_it_is(filter_: Callable[[Tensor], Tensor]) -> None:
    logits = random_logits()
    before = logits.clone()
    filtered = filter_(logits)
    assert logits.equal(before)
    assert not filtered.equal(before)


@given(
    st.lists(st.integers(-4, 4), min_size=1, max_size=12),
    st.floats(0, 1, allow_subnormal=False),
    st.integers(1, 14),
)
def test_a_filter_keeps_the_largest_and_all_or_none_of_equals(
    row: list[int], p: float, k: int
) -> None:
    logits = torch.tensor([row], dtype=torch.float64)
    for kept in (keep_top_k(logits, k), keep_top_p(logits, p), keep_min_p(logits, p)):
        values = set(kept[kept > INF].tolist())
        assert max(row) in values
        assert values == {value for value in row if value >= min(values)}
        assert kept.tolist() == [[value if value in values else INF for value in row]]


PROMPT, NEW = (5, 8, 8, 13), (8, 40, 3)
REPEATED = torch.zeros(3, 1000, dtype=torch.bool)
REPEATED[:, [*PROMPT, *NEW]] = True
BIASES = {3: 1.5, 999: -2.0, 13: 4.0}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda x: keep_top_k(x, 40), peer.TopKLogitsWarper(40)),
        (lambda x: keep_top_p(x, 0.9), peer.TopPLogitsWarper(0.9)),
        (lambda x: keep_top_p(x, 0.05), peer.TopPLogitsWarper(0.05)),
        (lambda x: keep_min_p(x, 0.02), peer.MinPLogitsWarper(0.02)),
        (
            lambda x: penalize_repetition(x, REPEATED, 1.3),
            peer.RepetitionPenaltyLogitsProcessor(1.3),
        ),
        (
            lambda x: x + token_bias(BIASES, [], 1000),
            peer.SequenceBiasLogitsProcessor([[[i], bias] for i, bias in BIASES.items()]),
        ),
    ],
    ids=["top-k", "top-p", "small top-p", "min-p", "repetition", "bias"],
)
def test_a_filter_equals_that_of_transformers(
    ours: Callable[[Tensor], Tensor], theirs: peer.LogitsProcessor
) -> None:
    logits = random_logits()
    text = torch.tensor([PROMPT + NEW]).expand(3, -1)
    assert ours(logits).equal(theirs(text, logits.clone()))


def test_the_filters_in_order_equal_those_of_transformers() -> None:
    logits = random_logits()
    theirs = peer.LogitsProcessorList(
        [
            peer.SequenceBiasLogitsProcessor([[[i], bias] for i, bias in BIASES.items()]),
            peer.RepetitionPenaltyLogitsProcessor(1.3),
            peer.TemperatureLogitsWarper(1.4),
            peer.TopKLogitsWarper(200),
            peer.TopPLogitsWarper(0.95),
            peer.MinPLogitsWarper(0.05),
        ]
    )
    expected = theirs(torch.tensor([PROMPT + NEW]).expand(3, -1), logits.clone())
    scaled = penalize_repetition(logits + token_bias(BIASES, [], 1000), REPEATED, 1.3)
    scaled = divide_by_temperature(scaled, 1.4)
    ours = keep_min_p(keep_top_p(keep_top_k(scaled, 200), 0.95), 0.05)
    assert (ours > INF).equal(expected > INF)
    assert (ours > INF).sum(-1).min() > 5
    # float32, as theirs, has 24 bits.
    torch.testing.assert_close(ours.softmax(-1), expected.double().softmax(-1), rtol=1e-5, atol=0)


def chi_squared(drawn: list[int], probabilities: Tensor) -> tuple[float, float]:
    """Return the statistic, and what it exceeds once in a thousand times."""
    counts = np.bincount(drawn, minlength=len(probabilities))
    possible = probabilities.numpy() > 0
    assert not counts[~possible].any(), "a token of probability 0 was drawn"
    expected = len(drawn) * probabilities.numpy()[possible]
    assert expected.min() > 5, "too few draws for the test"
    statistic = float(((counts[possible] - expected) ** 2 / expected).sum())
    return statistic, CRITICAL[len(expected) - 2]


EIGHT = torch.tensor([0.3, -1.2, 2.0, 0.3, -0.4, 1.1, -2.5, 0.9])


@pytest.mark.parametrize(
    ("how", "smallest"),
    [
        ({}, INF),
        ({"temperature": 0.8}, INF),
        ({"temperature": 2.5}, INF),
        ({"top_k": 4}, 0.3),  # the fourth largest is one of two that are equal: five are kept
        ({"top_p": 0.8}, 0.3),  # of 0.44, 0.18, 0.15 and twice 0.08, a fourth is needed
        ({"min_p": 0.25}, 0.61),  # 2.0 - log 4
    ],
    ids=str,
)
def test_draws_are_as_frequent_as_the_exact_softmax_says(
    how: dict[str, float], smallest: float
) -> None:
    kept = torch.where(EIGHT.ge(smallest), EIGHT.double(), INF)
    probabilities = (kept / how.get("temperature", 1)).softmax(0)
    draws = sampler(8, **how)
    statistic, critical = chi_squared([draws.next(EIGHT) for _ in range(DRAWS)], probabilities)
    assert statistic < critical


def test_first_draws_of_many_samples_after_all_filters_are_as_transformers_has_them() -> None:
    prompt, new = [2, 6], [2, 7, 7]
    theirs = peer.LogitsProcessorList(
        [
            peer.SequenceBiasLogitsProcessor([[[1], 2.5], [[5], -1.0]]),
            peer.RepetitionPenaltyLogitsProcessor(1.4),
        ]
    )
    logits = theirs(torch.tensor([prompt + new]), EIGHT[None].clone())
    logits[0, [2, 7]] -= 0.3  # presence
    logits[0, [2, 7]] += 0.2 * torch.tensor([1.0, 2.0])  # frequency, -0.2
    warpers = [peer.TemperatureLogitsWarper(1.5), peer.TopKLogitsWarper(6)]
    warpers += [peer.TopPLogitsWarper(0.9), peer.MinPLogitsWarper(0.15)]
    logits = peer.LogitsProcessorList(warpers)(torch.tensor([prompt + new]), logits)
    assert 3 < (logits > INF).sum() < 8

    config = GenerationConfig(
        logit_bias={1: 2.5, 5: -1.0},
        repetition_penalty=1.4,
        presence_penalty=0.3,
        frequency_penalty=-0.2,
        temperature=1.5,
        top_k=6,
        top_p=0.9,
        min_p=0.15,
        seed=3,
    )
    drawn = []
    for sample in range(3_000):
        draws = Sampler(config, prompt, sample=sample, vocab_size=8)
        for token in new:
            draws.record(token)
        drawn.append(draws.next(EIGHT))
    statistic, critical = chi_squared(drawn, logits[0].double().softmax(0))
    assert statistic < critical


def test_a_draw_inverts_the_cumulated_softmax_in_the_order_of_ids() -> None:
    sequence = np.random.SeedSequence(5, spawn_key=(2,))
    uniform = np.random.Generator(np.random.PCG64(sequence))
    draws = sampler(1024, sample=2)
    for _ in range(20):  # sums of equal powers of two are exact
        assert draws.next(torch.zeros(1024)) == int(1024 * uniform.random())


def test_a_draw_depends_on_seed_sample_and_number_of_draws_alone() -> None:
    last = random_logits()[0]
    first, again = sampler(1000), sampler(1000, num_samples=3, max_new_tokens=7)
    for logits in random_logits(rows=4):
        first.next(logits)
        again.next(-logits)
    assert first.next(last) == again.next(last)

    tokens = {
        (sampler(1000, sample=sample, seed=seed).next(0 * last))
        for sample in range(3)
        for seed in range(3)
    }
    assert len(tokens) == 9


def test_without_a_seed_samples_differ_and_so_do_requests() -> None:
    samplers = [sampler(10**6, sample=sample, seed=None) for sample in (0, 1, 0, 1)]
    assert len({one.next(torch.zeros(10**6)) for one in samplers}) > 2


def test_sampling_leaves_logits_and_global_generators_as_they_are() -> None:
    logits = random_logits()[0]
    before, of_torch, of_numpy = logits.clone(), torch.get_rng_state(), np.random.get_state()[1]
    everything = {"top_p": 0.9, "min_p": 0.1, "top_k": 9, "logit_bias": {1: 2.0}}
    sampler(1000, presence_penalty=1.0, **everything).next(logits)
    assert logits.equal(before)
    assert torch.get_rng_state().equal(of_torch)
    assert (np.random.get_state()[1] == of_numpy).all()


@pytest.mark.parametrize("how", [{"temperature": 0}, {"top_k": 9}, {"top_p": 0.9}], ids=str)
def test_gradients_and_inference_mode_change_no_draw(how: dict[str, float]) -> None:
    logits = random_logits()[0]
    expected = sampler(1000, presence_penalty=0.5, **how)
    with torch.inference_mode():
        drawn = sampler(1000, presence_penalty=0.5, **how)
        tokens = [drawn.next(logits)]
    tokens += [drawn.next(logits.clone().requires_grad_()) for _ in range(3)]
    assert tokens == [expected.next(logits) for _ in range(4)]


@pytest.mark.parametrize("temperature", [0.0, 1e-3, 1e-40, 1e-300])
def test_no_or_hardly_any_temperature_takes_the_largest(temperature: float) -> None:
    draws = sampler(3, temperature=temperature)
    assert [draws.next(torch.tensor([-300.0, -200.0, -200.5])) for _ in range(9)] == 9 * [1]


def test_at_temperature_zero_the_first_of_equals_is_taken() -> None:
    assert sampler(4, temperature=0).next(torch.tensor([1.0, 3.0, 3.0, 2.0])) == 1


def test_a_banned_token_is_never_drawn_whatever_its_logit_and_bias() -> None:
    for how in ({}, {"temperature": 0}, {"top_k": 2}, {"top_p": 0.5}, {"min_p": 0.5}):
        config = GenerationConfig(seed=0, logit_bias={1: 100.0}, **how)
        draws = Sampler(config, [1], sample=0, vocab_size=4, banned=[1])
        drawn = {draws.next(torch.tensor([3.0, 50.0, 3.0, 2.0])) for _ in range(40)}
        assert 1 not in drawn
        assert len(drawn) == (1 if how == {"temperature": 0} else 2 if how else 3)


def test_penalties_grow_with_the_text_that_the_sampler_draws() -> None:
    logits = torch.tensor([1.0, 0.8, 0.5])
    # The first falls to -0.5, the second to -0.7, the third to -1; then the first is the largest.
    draws = sampler(3, temperature=0, frequency_penalty=1.5)
    assert [draws.next(logits) for _ in range(4)] == [0, 1, 2, 0]
    # All are lower by 2 after three draws, and no more after that.
    draws = sampler(3, temperature=0, presence_penalty=2.0)
    assert [draws.next(logits) for _ in range(5)] == [0, 1, 2, 0, 0]


def test_a_prompt_counts_as_repetition_and_not_as_presence_or_frequency() -> None:
    logits = torch.tensor([1.0, 0.9])
    for how, token in (
        ({"repetition_penalty": 2.0}, 1),
        ({"presence_penalty": 2.0}, 0),
        ({"frequency_penalty": 2.0}, 0),
    ):
        assert sampler(2, prompt=[0, 0], temperature=0, **how).next(logits) == token


@pytest.mark.parametrize(
    ("how", "takes_argmax"),
    [
        ({"temperature": 0}, True),
        ({"temperature": 0, "top_k": 5, "top_p": 0.9, "min_p": 0.1}, True),
        ({}, False),
        ({"temperature": 0, "logit_bias": {1: 1.0}}, False),
        ({"temperature": 0, "repetition_penalty": 1.1}, False),
        ({"temperature": 0, "presence_penalty": 0.1}, False),
        ({"temperature": 0, "frequency_penalty": -0.1}, False),
    ],
    ids=str,
)
def test_only_greedy_choice_without_bias_and_penalties_takes_the_argmax(
    how: dict[str, float], takes_argmax: bool
) -> None:
    assert sampler(8, **how).takes_argmax == takes_argmax
    if takes_argmax:
        assert sampler(8, **how).next(EIGHT) == EIGHT.argmax()
