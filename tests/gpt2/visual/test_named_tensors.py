from dataclasses import replace

import numpy as np
import pytest
import torch

from gpt2.errors import InputError
from gpt2.files.hugging_face import stored_name, stored_tensors
from gpt2.files.pretrained import GPT2
from gpt2.model.quantized import quantize_network
from gpt2.visual.named_tensors import full_name, read_tensor, tensor_shapes


def test_tensors_have_the_names_shapes_and_values_of_the_files(model: GPT2) -> None:
    stored = dict(stored_tensors(model))
    shapes = tensor_shapes(model)
    assert {stored_name(name): shape for name, shape in shapes.items()} == {
        name: tuple(tensor.shape) for name, tensor in stored.items()
    }
    for name in shapes:
        assert np.array_equal(read_tensor(model, name), stored[stored_name(name)])


@pytest.mark.parametrize("bits", [8, 4])
def test_a_quantized_model_has_the_same_names_and_nearly_the_same_values(
    model: GPT2, bits: int
) -> None:
    shapes = tensor_shapes(model)
    exact = {name: read_tensor(model, name).copy() for name in shapes}
    quantize_network(model, bits)  # type: ignore[arg-type]
    assert tensor_shapes(model) == shapes
    for name, values in exact.items():
        largest = float(np.abs(values).max())
        assert read_tensor(model, name) == pytest.approx(values, abs=0.15 * largest)


def test_weights_of_half_precision_are_read_as_they_are(model: GPT2) -> None:
    model.to(torch.bfloat16)
    assert read_tensor(model, "wpe.weight").dtype == np.float32
    assert np.array_equal(read_tensor(model, "wpe.weight"), model.wpe.weight.detach().float())


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("h.2.mlp.c_fc.weight", "h.2.mlp.c_fc.weight"),
        ("transformer.h.2.mlp.c_fc.weight", "h.2.mlp.c_fc.weight"),
        ("h.2.mlp.c_fc", "h.2.mlp.c_fc.weight"),
        ("ln_f.bias", "ln_f.bias"),
        ("wte", "wte.weight"),
        ("lm_head.weight", "wte.weight"),
        ("lm_head", "wte.weight"),
    ],
)
def test_names_may_be_short_or_long(model: GPT2, asked: str, name: str) -> None:
    assert full_name(model, asked) == name


def test_an_untied_head_has_a_name_of_its_own(model: GPT2) -> None:
    untied = GPT2(replace(model.config, tie_word_embeddings=False))
    assert full_name(untied, "lm_head") == "lm_head.weight"
    assert tensor_shapes(untied)["lm_head.weight"] == (300, 20)


@pytest.mark.parametrize(
    ("asked", "offered"),
    [
        ("c_attn", "h.0.attn.c_attn.weight, h.0.attn.c_attn.bias, h.1.attn.c_attn.weight"),
        ("h.0.atn.c_attn.weight", "h.0.attn.c_attn.weight"),
        ("h.1.atn.c_attn", "h.1.attn.c_attn.weight"),
        ("wpe.wieght", "wpe.weight"),
    ],
)
def test_an_unknown_name_is_refused_with_names_near_it(
    model: GPT2, asked: str, offered: str
) -> None:
    with pytest.raises(InputError) as error:
        full_name(model, asked)
    assert f"no tensor {asked!r}; near it: {offered}" in str(error.value)
    assert "gpt2 plot weights --list shows all" in str(error.value)


@pytest.mark.parametrize("asked", ["", "zzzz", "wte.bias.x.y.z.1234567890"])
def test_a_name_that_is_near_none_is_refused_with_where_to_look(model: GPT2, asked: str) -> None:
    with pytest.raises(InputError, match="gpt2 plot weights --list shows all"):
        full_name(model, asked)
