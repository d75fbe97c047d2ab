import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from gpt2.config import GenerationConfig, GPT2Config
from gpt2.errors import InputError
from gpt2.files.pretrained import GPT2
from gpt2.generation.engine import Engine
from gpt2.generation.generate import generate
from llm_tokenizer import Tokenizer

GREEDY = GenerationConfig(max_new_tokens=12, temperature=0)
PROMPT = "Permission"


def test_greedy_generation_equals_that_of_transformers(model: GPT2, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path)
    for prompt in ("Permission", "IN NO EVENT", "a", "copies of the Software"):
        [sample] = generate(model, [prompt], GREEDY)
        ids = torch.tensor([sample.prompt_ids])
        mask = torch.ones_like(ids)
        expected = theirs.generate(ids, attention_mask=mask, max_new_tokens=12, do_sample=False)
        new = expected[0, ids.size(1) :].tolist()
        assert sample.ids == [i for i in new if i != 299]


def test_a_text_and_its_ids_are_the_same_prompt(model: GPT2) -> None:
    by_text, by_ids = generate(model, [PROMPT, model.tokenizer.encode(PROMPT)], GREEDY)
    assert by_text == by_ids


def test_an_end_of_text_in_a_prompt_is_the_token(model: GPT2) -> None:
    [sample] = generate(model, ["<|endoftext|>a"], GREEDY)
    assert sample.prompt_ids == [299, *model.tokenizer.encode("a")]


def test_samples_come_by_prompt_and_are_repeatable_by_seed(model: GPT2) -> None:
    config = GenerationConfig(max_new_tokens=8, num_samples=3, seed=5)
    samples = generate(model, ["a", "b"], config)
    assert [s.prompt_ids for s in samples] == 3 * [model.tokenizer.encode("a")] + 3 * [
        model.tokenizer.encode("b")
    ]
    assert samples == generate(model, ["a", "b"], config)
    assert len({tuple(s.ids) for s in samples}) > 1


def test_log_probabilities_are_those_of_the_model(model: GPT2) -> None:
    [sample] = generate(model, [PROMPT], GREEDY)
    ids = torch.tensor([sample.prompt_ids + sample.ids])
    logs = model(ids).log_softmax(-1)[0, len(sample.prompt_ids) - 1 : -1]
    expected = logs.gather(1, torch.tensor(sample.ids)[:, None])[:, 0]
    assert sample.log_probabilities == pytest.approx(expected.tolist(), abs=1e-4)
    assert sample.text == model.tokenizer.decode(sample.ids)
    assert sample.finish_reason == "length"


def test_text_grows_beyond_the_context(model: GPT2) -> None:
    [sample] = generate(model, [PROMPT], GenerationConfig(max_new_tokens=60, seed=1, top_k=20))
    assert len(sample.ids) + len(sample.prompt_ids) > model.config.n_positions


def test_the_end_of_text_ends_a_sample_and_is_no_part_of_it(model: GPT2) -> None:
    nn.init.zeros_(model.ln_f.weight)  # the logits are now the token embeddings times this bias:
    model.ln_f.bias.data = model.wte.weight[299].detach().clone()
    model.wte.weight.data[299] *= 5
    [sample] = generate(model, [PROMPT], GREEDY)
    assert sample.finish_reason == "end_of_text"
    assert sample.ids == []
    assert sample.text == ""


def test_ids_that_the_tokenizer_does_not_know_are_never_drawn(model: GPT2) -> None:
    padded = GPT2(
        GPT2Config(vocab_size=320, n_positions=24, n_embd=20, n_layer=1, n_head=4),
        tokenizer=model.tokenizer,
    )
    padded.wte.weight.data[300:] = 100 * padded.wte.weight.data[:20]
    samples = generate(padded, ["a"], GenerationConfig(num_samples=20, max_new_tokens=10, seed=0))
    assert max(i for sample in samples for i in sample.ids) < 300
    assert all(math.isfinite(p) for sample in samples for p in sample.log_probabilities)


def test_a_vocabulary_without_an_end_of_text_never_ends(model: GPT2) -> None:
    model.tokenizer = Tokenizer.train(["Permission " * 9], 270, special_tokens=[])
    [sample] = generate(model, ["Per"], GREEDY)
    assert sample.finish_reason == "length"


def test_the_public_name_is_the_function() -> None:
    code = "import gpt2.generation.generate; from gpt2 import generate; generate.__call__;"
    code += "import gpt2;"
    code += "assert gpt2.generate is generate is gpt2.generation.generate.generate"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_generation_leaves_a_model_in_training_in_training(model: GPT2) -> None:
    model.train()
    generate(model, [PROMPT], GREEDY)
    assert model.training


def test_an_empty_prompt_stands_for_an_end_of_text(model: GPT2) -> None:
    [empty, end, no_ids] = generate(model, ["", "<|endoftext|>", []], GREEDY)
    assert empty == end == no_ids
    assert empty.prompt_ids == [299]


def test_a_model_without_a_tokenizer_continues_ids_and_refuses_text(model: GPT2) -> None:
    [expected] = generate(model, [[1, 2]], GREEDY)
    model.tokenizer = None
    [sample] = generate(model, [[1, 2]], GREEDY)
    assert (sample.ids, sample.text) == (expected.ids, "")
    with pytest.raises(InputError, match="no tokenizer"):
        generate(model, ["text"], GREEDY)


@pytest.mark.parametrize(
    ("prompts", "told"),
    [
        ("abc", "prompts must be a list of prompts, got one text; put it into a list"),
        (b"abc", "prompts must be a list of prompts, got bytes"),
        ([1, 2], "prompts must be a list of prompts, got one list of ids; put it into a list"),
        (torch.tensor([1, 2]), "got one list of ids"),
        ({"a": 1}, "prompts must be a list of prompts, got dict"),
        (None, "prompts must be a list of prompts, got NoneType"),
        (7, "prompts must be a list of prompts, got int"),
        ([], "prompts must be a list of prompts, got an empty one"),
        ([b"a"], "a prompt must be a text or a list of token ids, got bytes"),
        ([None], "a prompt must be a text or a list of token ids, got NoneType"),
        ([{1: 2}], "a prompt must be a text or a list of token ids, got dict"),
        ([[1.0]], "token ids must be whole numbers from 0 to 299, got 1.0"),
        ([["a"]], "token ids must be whole numbers from 0 to 299, got 'a'"),
        ([[True]], "token ids must be whole numbers from 0 to 299, got True"),
        ([[None]], "token ids must be whole numbers from 0 to 299, got None"),
        ([[[1]]], "token ids must be whole numbers from 0 to 299, got [1]"),
        ([[0, 300]], "token ids must be whole numbers from 0 to 299, got 300"),
        ([[-1]], "token ids must be whole numbers from 0 to 299, got -1"),
        ([[2**70]], "token ids must be whole numbers from 0 to 299, got 1180591620717411303424"),
        ([["x" * 10**6]], "token ids must be whole numbers from 0 to 299, got 'xxx"),
        (["a", [300]], "got 300"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_list_of_prompts_is_an_error_before_anything_is_drawn(
    prompts: object, told: str, model: GPT2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "step", lambda *args: pytest.fail("the model has run"))
    with pytest.raises(InputError) as raised:
        generate(model, prompts, GREEDY)
    assert told in str(raised.value)
    assert len(str(raised.value)) < 300


def test_prompts_may_be_arrays_and_tuples_of_ids(model: GPT2) -> None:
    [expected] = generate(model, [[1, 2]], GREEDY)
    for prompts in (([1, 2],), [(1, 2)], np.array([[1, 2]]), [np.array([1, 2], np.uint16)]):
        assert generate(model, prompts, GREEDY) == [expected]
    for prompts in (torch.tensor([[1, 2]]), [torch.tensor([1, 2])], [[np.int64(1), 2]]):
        assert generate(model, prompts, GREEDY) == [expected]


def test_ids_that_no_token_has_are_never_drawn(gapped_model: GPT2) -> None:
    unused = set(gapped_model.unused_ids)
    assert unused == {*range(270, 310), *range(340, 420)}
    config = GenerationConfig(max_new_tokens=40, num_samples=30, seed=0, temperature=10.0)
    for sample in generate(gapped_model, ["Permission is"], config):
        assert not unused & set(sample.ids)
        assert all(map(math.isfinite, sample.log_probabilities))
        assert sample.text == gapped_model.tokenizer.decode(sample.ids)
