"""Scoring: against one plain forward pass for each continuation."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gpt2 import devices
from gpt2.config import AttentionBackend, GPT2Config
from gpt2.errors import ConfigError, InputError, NotFiniteError
from gpt2.evaluate import scoring
from gpt2.evaluate.packing import Question
from gpt2.evaluate.scoring import Score, Scorer, memory_of, target_nats
from gpt2.files.pretrained import GPT2
from gpt2.model.gpt import GPT2Network

LONGEST = 24  # n_positions of the small model


def expected(model: GPT2Network, context: Sequence[int], continuation: Sequence[int]) -> Score:
    """Score a continuation by the formula, alone, with all its logits."""
    ids = torch.tensor([*context, *continuation])[-(LONGEST + 1) :]
    with torch.no_grad():
        logits = model(ids[None, :-1])[0, -len(continuation) :]
    targets = ids[-len(continuation) :]
    nats = F.cross_entropy(logits, targets, reduction="none").double().numpy()
    return Score(nats, (logits.argmax(dim=-1) == targets).numpy())


def check(model: GPT2, questions: Sequence[Question]) -> None:
    found = dict(Scorer(model).score(questions))
    assert sorted(found) == list(range(len(questions)))
    for number, question in enumerate(questions):
        for score, each in zip(found[number], question.continuations, strict=True):
            right = expected(model, question.context, each)
            np.testing.assert_allclose(score.nats, right.nats, atol=1e-4)
            assert score.hits.tolist() == right.hits.tolist()
            assert score.is_greedy == all(right.hits)


def ids(*shape: int, seed: int = 0) -> list[list[int]]:
    """Return lists of token ids of these lengths."""
    generator = np.random.default_rng(seed)
    return [generator.integers(0, 300, n).tolist() for n in shape]


def test_the_nats_of_a_target_as_computed_by_hand() -> None:
    # Logits are the entries of hidden: ln 1, ln 2, ln 5, so that probabilities are 1/8, 2/8, 5/8.
    hidden = torch.tensor([[0.0, math.log(2), math.log(5)]]).expand(2, 3)
    nats, likeliest = target_nats(hidden, torch.eye(3), torch.tensor([0, 2]))
    assert nats.tolist() == pytest.approx([math.log(8), math.log(8 / 5)])
    assert likeliest.tolist() == [2, 2]


def test_a_banned_id_is_never_the_likeliest_to_begin_a_continuation(
    model: GPT2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "HEAD_IDS", 7)
    [context] = ids(5)
    likeliest = []  # the greedy continuation
    for _ in range(2):
        likeliest.append(int(logits_at(model, [*context, *likeliest]).argmax()))
    second = int(logits_at(model, context).topk(2).indices[1])
    questions = [Question(context, [likeliest, [second]])]
    [(_, [first, other])] = Scorer(model).score(questions)
    [(_, [first_without, other_without])] = Scorer(model).without(likeliest).score(questions)
    assert (first.hits.tolist(), other.hits.tolist()) == ([True, True], [False])
    assert first_without.hits.tolist() == [False, True]  # the second token begins nothing
    assert other_without.hits.tolist() == [second not in likeliest]
    np.testing.assert_array_equal(first_without.nats, first.nats)


def logits_at(model: GPT2, context: Sequence[int]) -> torch.Tensor:
    """Return the logits after a context."""
    with torch.no_grad():
        return model(torch.tensor([context]))[0, -1]


def test_of_equal_logits_the_first_is_the_likeliest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "HEAD_IDS", 2)  # equal ones within a part and in several
    hidden = torch.tensor([[1.0, 0.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 2.0, 2.0]])
    _, likeliest = target_nats(hidden, torch.eye(5), torch.tensor([0, 0]))
    assert likeliest.tolist() == [0, 3]


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 7), (4, 300), (2048, 299), (5, 2048)])
def test_the_parts_of_the_logits_do_not_show(
    rows: int, columns: int, model: GPT2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "HEAD_ROWS", rows)
    monkeypatch.setattr(scoring, "HEAD_IDS", columns)
    hidden = model.hidden(torch.tensor(ids(11)))[0].detach()
    targets = torch.tensor(ids(11, seed=1)[0])
    nats, likeliest = target_nats(hidden, model.lm_head.weight, targets)
    logits = model.logits(hidden)
    torch.testing.assert_close(nats, F.cross_entropy(logits, targets, reduction="none"))
    assert torch.equal(likeliest, logits.argmax(dim=-1))


def test_continuations_that_share_a_context_are_scored_as_each_alone(model: GPT2) -> None:
    check(model, [Question(ids(7)[0], ids(1, 5, 3, 1, 4, seed=2))])


def test_questions_of_all_lengths_are_scored_in_one_go(model: GPT2) -> None:
    lengths = [(1, (1,)), (1, (24,)), (24, (1,)), (23, (1, 2)), (9, (2, 2, 2, 2)), (5, (3,))]
    check(model, [Question(ids(n, seed=n)[0], ids(*m, seed=n + 1)) for n, m in lengths])


@pytest.mark.parametrize("context", [16, 20, 23, 24, 25, 40, 100])
def test_a_context_that_is_too_long_loses_its_beginning(model: GPT2, context: int) -> None:
    check(model, [Question(ids(context)[0], ids(3, 1, 9, 24, seed=3))])


def test_the_likeliest_continuation_is_greedy(model: GPT2) -> None:
    context = ids(6)[0]
    for _ in range(3):
        context.append(int(model(torch.tensor([context]))[0, -1].argmax()))
    [(_, [greedy, other])] = Scorer(model).score(
        [Question(context[:6], [context[6:], [*context[6:8], (context[8] + 1) % 300]])]
    )
    assert greedy.is_greedy
    assert not other.is_greedy


def test_quantized_models_are_scored(model: GPT2) -> None:
    from gpt2.model.quantized import quantize_network

    quantize_network(model, 8)
    check(model, [Question(ids(7)[0], ids(4, 2, seed=1))])


def test_products_run_in_the_dtype_that_is_asked_for(model: GPT2) -> None:
    question = Question(ids(7)[0], ids(4, seed=1))
    [(_, [exact])] = Scorer(model).score([question])
    [(_, [rounded])] = Scorer(model, dtype=torch.bfloat16).score([question])
    assert rounded.nats.tolist() != exact.nats.tolist()
    np.testing.assert_allclose(rounded.nats, exact.nats, atol=0.2)


def test_dropout_is_off_while_questions_are_scored(model: GPT2) -> None:
    model.drop.p = 0.9
    model.train()
    check(model.eval(), [Question(ids(7)[0], ids(4, seed=1))])
    found = [list(Scorer(model.train()).score([Question([1, 2], [[3]])])) for _ in range(2)]
    assert found[0][0][1][0].nats.tolist() == found[1][0][1][0].nats.tolist()
    assert model.training


def test_a_pass_holds_as_many_tokens_as_its_memory_allows(model: GPT2) -> None:
    question = Question(ids(20)[0], ids(5, seed=1))  # 24 tokens are read
    for rows in (1, 2, 5):
        scorer = Scorer(model, memory=memory_of(24 * rows, model))
        plan = scorer.plan(enumerate([question] * 10))
        assert [len(each) for each in plan] == [rows] * (10 // rows)


def test_too_little_memory_is_refused(model: GPT2) -> None:
    with pytest.raises(ConfigError, match=r"memory must be at least 0\.07 GB to score 24 tokens"):
        Scorer(model, memory=memory_of(24, model) - 1)


@pytest.mark.parametrize("backend", ["flash", "manual"])
@pytest.mark.parametrize("is_forked", [False, True])
def test_a_pass_takes_no_more_memory_than_it_was_given(
    is_forked: bool, backend: AttentionBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "HEAD_ROWS", 64)
    sizes = GPT2Config(vocab_size=5000, n_positions=256, n_embd=64, n_layer=2, n_head=2)
    model = GPT2Network(sizes, attention=backend)
    scorer = Scorer(model, memory=(memory := memory_of(1024, model)))
    length = 90 if is_forked else 200
    questions = [Question([1] * 50, [[2] * length] * (2 if is_forked else 1)) for _ in range(4)]
    [rows] = scorer.plan(enumerate(questions))
    used = devices.peak_memory(torch.device("cpu"), lambda: scorer.run(rows))
    assert used is not None
    assert memory / 10 < used < memory / 2


def test_long_questions_come_first_and_equal_ones_share_a_pass(model: GPT2) -> None:
    questions = [Question([1] * n, [[2]]) for n in (3, 9, 3, 20, 9)]
    order = [number for number, _ in Scorer(model).score(questions)]
    lengths = [len(questions[number].context) for number in order]
    assert all(a >= b for a, b in pairwise(lengths))


@pytest.mark.parametrize("question", [Question([], [[1]]), Question([1], [[1], []])])
def test_an_empty_context_or_continuation_is_refused(model: GPT2, question: Question) -> None:
    with pytest.raises(InputError, match="must have tokens, got an empty one"):
        list(Scorer(model).score([question]))


def test_a_continuation_longer_than_the_context_is_refused(model: GPT2) -> None:
    with pytest.raises(InputError, match="at most 24 tokens, as many as the model reads, got 25"):
        list(Scorer(model).score([Question([1], [[1] * 25])]))


def test_a_model_that_has_diverged_is_refused(model: GPT2) -> None:
    model.wte.weight.data[:] = float("nan")
    with pytest.raises(NotFiniteError, match="its weights have diverged"):
        list(Scorer(model).score([Question([1], [[1]])]))


@pytest.mark.parametrize("dtype", [np.uint16, np.int64])
def test_tokens_may_be_arrays(dtype: type, model: GPT2) -> None:
    lists = ids(5, 3, 4)
    context, *continuations = (np.array(each, dtype) for each in lists)
    [(_, scores)] = Scorer(model).score([Question(context, continuations)])
    [(_, right)] = Scorer(model).score([Question(lists[0], lists[1:])])
    assert [score.nats.tolist() for score in scores] == [score.nats.tolist() for score in right]
