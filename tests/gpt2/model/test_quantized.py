"""Quantization: hand-computed codes and scales, bounds of the error, networks of such layers."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from gpt2.config import GPT2Config
from gpt2.errors import ConfigError, NotFiniteError
from gpt2.files.pretrained import GPT2
from gpt2.model.gpt import GPT2Network
from gpt2.model.quantized import (
    Bits,
    Quantized,
    QuantizedEmbedding,
    QuantizedLinear,
    dequantize,
    network_bits,
    pack,
    quantize,
    quantize_network,
    unpack,
)

NETWORK_BITS: list[tuple[Bits, Bits]] = [(8, 8), (4, 8), (4, 4)]


def random_matrix(seed: int, rows: int, columns: int, scale: float = 0.1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator) * scale


def per_weight(scales: Tensor, size: int, columns: int) -> Tensor:
    """Return the scale of each weight, written out with a loop, in float64."""
    rows = [[row[k // size] for k in range(columns)] for row in scales.double().tolist()]
    return torch.tensor(rows, dtype=torch.float64)


def test_8_bits_by_hand() -> None:
    # The scale is 127 / 127 = 1. Halves go to the even neighbour.
    weight = torch.tensor([[127.0, -127.0, 0.5, 1.5, -2.5, 3.4, 0.0, -0.6]])
    codes, scales = quantize(weight, 8)
    assert codes.dtype == torch.int8
    assert codes.tolist() == [[127, -127, 0, 2, -2, 3, 0, -1]]
    assert scales.dtype == torch.bfloat16
    assert scales.tolist() == [[1.0]]


def test_codes_of_8_bits_are_those_of_the_rounded_scale() -> None:
    # 100 / 127 = 0.78740 lies between the bfloat16 numbers 0.78515625 and 0.7890625, nearer to the
    # second: 100 / 0.7890625 = 126.73 and 10.6 / 0.7890625 = 13.434. By the exact scale it is
    # 10.6 / 0.78740 = 13.462, the same code; 48.0 is 60.83 here and 60.96 there; 51.7 is 65.52
    # here and 65.66 there; 51.6 is 65.39 here, so 65, and 65.53 there, so 66.
    codes, scales = quantize(torch.tensor([[100.0, 10.6, 48.0, 51.7, 51.6]]), 8)
    assert scales.tolist() == [[0.7890625]]
    assert codes.tolist() == [[127, 13, 61, 66, 65]]


def test_4_bits_by_hand() -> None:
    # The largest weight gets -8, with the scale -8 / -8 = 1 or 8 / -8 = -1, which fits all exactly.
    row = [-8.0, 7.0, 3.0, -1.0, 0.0, 5.0, -6.0, 2.0]
    codes, scales = quantize(torch.tensor([row, [-w for w in row]]), 4)
    assert scales.tolist() == [[1.0], [-1.0]]
    assert codes.dtype == torch.uint8
    # Codes + 8 are 0 15 11 7 8 13 2 10: the first of each pair is the low half of its byte.
    assert codes.tolist() == [[0 + 16 * 15, 11 + 16 * 7, 8 + 16 * 13, 2 + 16 * 10]] * 2


def test_4_bits_clip_the_largest_weight_where_that_fits_the_others_better() -> None:
    # With the scale -1 the weight 9 is clipped to 8, which is the only error, of 1 squared. With
    # 9 / -8 it is exact, and 30 others are off by up to half a scale.
    others = [float(w) for w in range(-7, 8)] * 2
    quantized = quantize(torch.tensor([[9.0, *others, 0.0]]), 4)
    assert quantized.scales.tolist() == [[-1.0]]
    assert dequantize(quantized, 4, 32).tolist() == [[8.0, *others, 0.0]]


@pytest.mark.parametrize(("bits", "size"), [(8, 128), (4, 32)])
@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_each_group_has_its_scale_and_the_last_may_be_short(
    bits: Bits, size: int, extra: int
) -> None:
    columns = 2 * size + extra
    weight = torch.ones(3, columns)
    weight[1] *= -2.0
    weight[:, size : 2 * size] *= 100.0
    quantized = quantize(weight, bits)
    assert quantized.codes.shape == (3, columns if bits == 8 else (columns + 1) // 2)
    assert quantized.scales.shape == (3, 3 if extra > 0 else 2)
    largest = 127 if bits == 8 else -8
    first = torch.tensor([1.0 / largest, -2.0 / largest, 1.0 / largest])
    expected = first.abs() if bits == 8 else first
    torch.testing.assert_close(quantized.scales[:, 0].float(), expected, rtol=0.06, atol=0)
    torch.testing.assert_close(dequantize(quantized, bits, columns), weight, rtol=0.005, atol=0)


@pytest.mark.parametrize("bits", [8, 4])
def test_zeros_stay_zeros_and_do_not_touch_their_neighbours(bits: Bits) -> None:
    weight = random_matrix(0, 2, 256)
    weight[0] = 0.0
    weight[1, :128] = 0.0
    quantized = quantize(weight, bits)
    assert not quantized.scales[0].any()
    assert not dequantize(quantized, bits, 256)[0].any()
    assert not dequantize(quantized, bits, 256)[1, :128].any()
    assert dequantize(quantized, bits, 256)[1, 128:].any()


@pytest.mark.parametrize("bits", [8, 4])
def test_weights_too_small_for_a_scale_become_zeros(bits: Bits) -> None:
    quantized = quantize(torch.tensor([[1e-40, -1e-39, 0.0, 3e-42]]), bits)
    assert quantized.scales.tolist() == [[0.0]]
    assert not dequantize(quantized, bits, 4).any()


def test_of_two_equally_large_weights_the_first_decides_the_sign() -> None:
    assert quantize(torch.tensor([[4.0, -4.0]]), 4).scales.item() < 0
    assert quantize(torch.tensor([[-4.0, 4.0]]), 4).scales.item() > 0


@given(
    st.lists(st.floats(-1e3, 1e3, width=32, allow_subnormal=False), min_size=1, max_size=300),
    st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_8_bits_are_off_by_half_a_scale_at_most(row: list[float], factor: float) -> None:
    weight = torch.tensor([row]) * factor
    quantized = quantize(weight, 8)
    assert int(quantized.codes.min()) >= -127
    scales = per_weight(quantized.scales, 128, len(row))
    error = (dequantize(quantized, 8, len(row)).double() - weight.double()).abs()
    rounding = 1e-6 * weight.double().abs()  # of float32: of weight / scale, and of code * scale
    assert bool((error <= scales / 2 + rounding + 1e-36).all())


@given(st.lists(st.floats(-1e3, 1e3, width=32, allow_subnormal=False), min_size=1, max_size=100))
def test_4_bits_are_never_worse_than_the_plain_scale(row: list[float]) -> None:
    weight = torch.tensor([row])
    columns = len(row)
    error = (dequantize(quantize(weight, 4), 4, columns) - weight).double()
    for start in range(0, columns, 32):
        group = weight[0, start : start + 32]
        largest = group[group.abs().argmax()]
        scale = (largest / -8).bfloat16().float()
        codes = (group / scale).round().clamp(-8, 7) if scale else group * 0
        plain = (codes * scale - group).double().square().sum().item()
        assert error[0, start : start + 32].square().sum().item() <= plain * 1.0001 + 1e-30


@given(st.lists(st.integers(-8, 7), min_size=1, max_size=40))
def test_codes_are_unpacked_as_they_were_packed(codes: list[int]) -> None:
    packed = pack(torch.tensor([codes]))
    assert packed.shape == (1, (len(codes) + 1) // 2)
    assert unpack(packed)[0, : len(codes)].tolist() == codes


@pytest.mark.parametrize("bits", [8, 4])
def test_rows_are_quantized_alone_however_many_there_are(bits: Bits) -> None:
    weight = random_matrix(1, 700, 400)  # more than are quantized at once
    whole = quantize(weight, bits)
    for row in (0, 327, 328, 699):
        alone = quantize(weight[row : row + 1], bits)
        assert torch.equal(whole.codes[row], alone.codes[0])
        assert torch.equal(whole.scales[row], alone.scales[0])


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes_give_what_their_float32_does(bits: Bits, dtype: torch.dtype) -> None:
    weight = random_matrix(2, 5, 70).to(dtype)
    expected = quantize(weight.float(), bits)
    for ours, wanted in zip(quantize(weight, bits), expected, strict=True):
        assert torch.equal(ours, wanted)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused(bits: Bits, value: float) -> None:
    weight = torch.ones(3, 40)
    weight[2, 35] = value
    with pytest.raises(NotFiniteError, match="weights must be finite to be quantized"):
        quantize(weight, bits)


@pytest.mark.parametrize("bits", [0, 3, 16])
def test_other_bits_are_refused(bits: int, model: GPT2) -> None:
    for wrong in (
        lambda: quantize(torch.ones(1, 1), bits),
        lambda: QuantizedLinear(1, 1, bits),
        lambda: quantize_network(model, 8, bits),
    ):
        with pytest.raises(ConfigError, match=f"must be 8 or 4, got {bits}"):
            wrong()
    assert model.quantization is None


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_is_that_of_the_dequantized_matrix(bits: Bits, bias: bool) -> None:
    layer = QuantizedLinear(11, 45, bits, nn.Parameter(torch.randn(11)) if bias else None)
    layer.assign(random_matrix(3, 11, 45))
    explicit = nn.Linear(45, 11, bias=bias)
    with torch.no_grad():
        values = layer.codes if bits == 8 else unpack(layer.codes)[:, :45]
        explicit.weight.copy_(values * per_weight(layer.scales, 128 if bits == 8 else 32, 45))
        if layer.bias is not None:
            explicit.bias.copy_(layer.bias)
    x = torch.randn(2, 3, 45)
    assert torch.equal(layer.weight, explicit.weight)
    assert torch.equal(layer(x), explicit(x))


@pytest.mark.parametrize("bits", [8, 4])
def test_a_lookup_gives_the_rows_of_the_dequantized_matrix(bits: Bits) -> None:
    embedding = QuantizedEmbedding(50, 33, bits)
    embedding.assign(random_matrix(4, 50, 33))
    ids = torch.tensor([[0, 49, 7], [7, 7, 1]])
    assert torch.equal(embedding(ids), F.embedding(ids, embedding.weight))


def float_twin(network: GPT2Network) -> GPT2Network:
    """Return a network of float weights that are what the quantized ones stand for."""
    twin = GPT2Network(network.config).eval()
    weights = {
        f"{name}.weight": module.weight
        for name, module in network.named_modules()
        if isinstance(module, QuantizedLinear | QuantizedEmbedding)
    }
    kept = {n: t for n, t in network.state_dict().items() if not n.endswith((".codes", ".scales"))}
    twin.load_state_dict(kept | weights)
    return twin


@pytest.mark.parametrize("bits", NETWORK_BITS, ids=str)
@pytest.mark.parametrize("tied", [True, False])
def test_a_quantized_network_computes_what_its_dequantized_twin_does(
    bits: tuple[Bits, Bits], tied: bool
) -> None:
    shape = {"vocab_size": 90, "n_positions": 20, "n_embd": 44, "n_layer": 2, "n_head": 4}
    config = GPT2Config(**shape, n_inner=171, tie_word_embeddings=tied)  # short last groups
    network = GPT2Network(config, seed=3).eval()
    exact = copy.deepcopy(network)
    quantize_network(network, *bits)
    assert network_bits(network) == bits
    ids = torch.randint(0, 90, (3, 20))
    with torch.no_grad():
        assert torch.equal(network(ids), float_twin(network)(ids))
        assert not torch.equal(network(ids), exact(ids))
        assert torch.equal(network.loss(ids, ids), float_twin(network).loss(ids, ids))
    assert network.num_parameters() == exact.num_parameters()
    assert network.flops_per_token() == exact.flops_per_token()
    assert network.device == exact.device


def test_every_matrix_is_replaced_and_nothing_else(model: GPT2) -> None:
    before = model.state_dict()
    quantize_network(model, 4)
    after = model.state_dict()
    matrices = {name for name in before if before[name].ndim == 2} - {"wpe.weight"}
    assert len(matrices) == 4 * 3 + 1
    for name in before.keys() - matrices:
        assert torch.equal(after[name], before[name])
    quantized = {
        name.removesuffix("weight") + kind for name in matrices for kind in Quantized._fields
    }
    assert after.keys() == before.keys() - matrices | quantized
    assert not any(isinstance(module, nn.Linear) for module in model.modules())
    assert after["wte.codes"].dtype == torch.int8
    assert after["h.2.attn.c_proj.codes"].dtype == torch.uint8


def test_a_network_in_half_precision_keeps_float32_beside_the_codes(model: GPT2) -> None:
    expected = copy.deepcopy(model).bfloat16().float()
    quantize_network(expected, 8)
    quantize_network(model.bfloat16(), 8)
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == expected.state_dict()[name].dtype, name
        assert torch.equal(tensor, expected.state_dict()[name]), name


def test_a_change_of_dtype_leaves_codes_and_scales(model: GPT2) -> None:
    quantize_network(model, 8)
    scales = model.wte.scales.clone()
    model.half()
    assert model.wpe.weight.dtype == torch.float16
    assert model.wte.scales.dtype == torch.bfloat16
    assert torch.equal(model.wte.scales, scales)
    assert model.wte.codes.dtype == torch.int8


def test_a_quantized_network_is_not_quantized_again(model: GPT2) -> None:
    quantize_network(model, 4)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ConfigError, match="the model is quantized already"):
        quantize_network(model, 8)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(("bits", "expected"), [(8, "int8"), (4, "int4")])
def test_a_model_names_its_quantization(model: GPT2, bits: Bits, expected: str) -> None:
    assert model.quantization is None
    quantize_network(model, bits)
    assert model.quantization == expected
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert copied.quantization == expected
        assert torch.equal(copied.lm_head.weight, model.wte.weight)


@pytest.mark.parametrize("bits", NETWORK_BITS, ids=str)
def test_on_the_meta_device_a_network_gets_the_shapes_alone(
    model: GPT2, bits: tuple[Bits, Bits]
) -> None:
    with torch.device("meta"):
        empty = GPT2Network(model.config)
    quantize_network(empty, *bits)
    quantize_network(model, *bits)
    wanted = {name: (t.shape, t.dtype) for name, t in model.state_dict().items()}
    assert {name: (t.shape, t.dtype) for name, t in empty.state_dict().items()} == wanted
    assert all(tensor.is_meta for tensor in empty.state_dict().values())


def test_products_of_a_quantized_network_follow_autocast(model: GPT2) -> None:
    quantize_network(model, 8)
    ids = torch.arange(12)[None]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert model(ids).dtype == torch.bfloat16
