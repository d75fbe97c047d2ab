import math

import pytest
import torch
import torch.nn.functional as F

from gpt2.errors import InputError
from gpt2.evaluate.perplexity import summarize, text_perplexity, token_nats
from gpt2.files.pretrained import GPT2


def test_every_convention_follows_from_the_nats_as_computed_by_hand() -> None:
    # Two tokens of ln 2 and ln 8 nats: 1 + 3 bits, over 2 bytes, 1 character and 1 word.
    nats = torch.tensor([math.log(2), math.log(8)], dtype=torch.float64)
    found = summarize(nats, text_bytes=2, characters=1, words=1)
    assert found.nats_per_token == pytest.approx(math.log(4))
    assert found.token_perplexity == pytest.approx(4)
    assert found.bits_per_byte == pytest.approx(2)
    assert found.bits_per_character == pytest.approx(4)
    assert found.word_perplexity == pytest.approx(16)
    assert (found.tokens, found.bytes) == (2, 2)
    # The two differ from their mean by ln 2, so the deviation is ln 2.
    assert found.standard_error == pytest.approx(math.log(2) / math.sqrt(2))


def test_a_model_that_knows_nothing_has_the_perplexity_of_its_vocabulary(model: GPT2) -> None:
    model.wte.weight.data.zero_()
    found = text_perplexity(model, "IN NO EVENT SHALL THE AUTHORS BE LIABLE " * 5)
    assert found.token_perplexity == pytest.approx(300, rel=1e-5)


def test_a_text_within_one_context_is_scored_in_one_pass(model: GPT2) -> None:
    text = "Permission is hereby"
    ids = torch.tensor([[299, *model.tokenizer.encode(text)]])
    expected = F.cross_entropy(model(ids)[0, :-1], ids[0, 1:])
    found = text_perplexity(model, text)
    assert found.nats_per_token == pytest.approx(expected.item(), abs=1e-5)
    assert found.tokens == ids.size(1) - 1


@pytest.mark.parametrize("count", [2, 12, 24, 25, 26, 37, 60])
def test_each_token_is_scored_once_with_half_a_context_or_all_there_is(
    model: GPT2, count: int
) -> None:
    tokens = torch.randint(0, 300, (count,), generator=torch.Generator().manual_seed(1))
    found = token_nats(model, tokens)
    assert found.shape == (count - 1,)
    for target in range(1, count):
        # The first of the windows, 24 long at a stride of 12, that reads up to the token before.
        start = max(0, -(-(target - 24) // 12)) * 12
        context = tokens[start:target]
        assert len(context) >= min(target, 12)
        expected = F.cross_entropy(model(context[None])[0, -1:], tokens[target : target + 1])
        assert found[target - 1].item() == pytest.approx(expected.item(), abs=1e-4)


def test_an_empty_text_is_refused(model: GPT2) -> None:
    with pytest.raises(InputError, match="the text is empty"):
        text_perplexity(model, "")
