"""Weight-only quantization: matrices as small integers with a scale for each group of inputs.

A weight is code * scale. Codes have 8 or 4 bits. The `GROUP_SIZE` weights that follow one another
in a row share a bfloat16 scale; the last group of a row may be shorter. Biases, norms and position
embeddings stay in float32, and so does what a layer computes.

Dimension key: R rows (outputs or tokens), K columns (inputs or channels), G groups of a row.
Source of groups with a scale each: Dettmers and Zettlemoyer 2022, arXiv:2212.09720, section 2.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt2.errors import ConfigError, NotFiniteError

if TYPE_CHECKING:
    from gpt2.model.gpt import GPT2Network

Bits = Literal[8, 4]

GROUP_SIZE = {8: 128, 4: 32}  # weights that share a scale, by bits
CODES = {8: (-127, 127), 4: (-8, 7)}  # smallest and largest, by bits
# The largest weight of a group over its scale, as tried for 4 bits. With 8 it gets the code -8;
# above 8 it is clipped, and the others are finer.
DIVISORS = (5.5, 6.0, 6.5, 6.8, 7.1, 7.4, 7.7, 8.0, 8.3, 8.6, 9.0)
BLOCK_MATRICES = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
CHUNK_WEIGHTS = 2**17  # quantized at once: 512 KiB in float32 stay in a processor's cache


class NetworkBits(NamedTuple):
    """The bits of a quantized network's codes."""

    blocks: Bits
    embeddings: Bits  # and of the head


class Quantized(NamedTuple):
    """A matrix (R, K) as integers and scales."""

    codes: Tensor  # 8 bits: (R, K) of int8. 4 bits: (R, ceil(K / 2)) of uint8, see `pack`
    scales: Tensor  # (R, G) of bfloat16


def quantize(weight: Tensor, bits: Bits) -> Quantized:  # (R, K) -> codes, scales
    """Quantize a matrix.

    With 8 bits a scale is the largest weight of its group over 127. With 4 bits it is, of a few
    that are tried, the one with the least squared error; it may be negative, so that the largest
    weight gets the code -8, which has no opposite. Codes are computed from the rounded scale.

    Args:
        weight: (R, K), floating point, finite.
        bits: Of a code: 8, from -127 to 127, or 4, from -8 to 7.
    Raises:
        ConfigError: There is no such number of bits.
        NotFiniteError: A weight is not finite.
    """
    check_bits(bits)
    columns = weight.size(1)
    rows = max(1, CHUNK_WEIGHTS // columns)
    chunks = [_quantize_chunk(chunk, bits) for chunk in weight.detach().split(rows)]
    codes, scales = (torch.cat(parts) for parts in zip(*chunks, strict=True))
    return Quantized(codes, scales)


def dequantize(quantized: Quantized, bits: Bits, columns: int) -> Tensor:  # (R, K)
    """Return code * scale, in float32.

    Args:
        quantized: Codes and scales of some rows.
        bits: Of a code.
        columns: K.
    """
    codes = quantized.codes if bits == 8 else unpack(quantized.codes)[..., :columns]
    scales = quantized.scales.float().repeat_interleave(GROUP_SIZE[bits], dim=-1)
    return codes * scales[..., :columns]


def check_bits(bits: int) -> None:
    """Make sure that there are codes of so many bits.

    Raises:
        ConfigError: There are none.
    """
    if bits not in GROUP_SIZE:
        known = " or ".join(map(str, GROUP_SIZE))
        raise ConfigError(f"the bits of a quantized weight must be {known}, got {bits}")


def pack(codes: Tensor) -> Tensor:  # (R, K) -> (R, ceil(K / 2))
    """Put two codes of 4 bits into a byte, as code + 8, that of the even column into the low half.

    >>> pack(torch.tensor([[-8, 7, 1]])).tolist()  # the code that is missing counts as 0
    [[240, 137]]
    """
    even = F.pad(codes, (0, codes.size(-1) % 2)).sub(CODES[4][0]).to(torch.uint8)
    return even[..., 0::2] | even[..., 1::2] << 4


def unpack(packed: Tensor) -> Tensor:  # (R, P) -> (R, 2 * P)
    """Return the codes of 4 bits that `pack` has put into bytes, in int8."""
    halves = torch.stack((packed & 15, packed >> 4), dim=-1)
    return halves.flatten(-2).to(torch.int8) + CODES[4][0]


def _quantize_chunk(weight: Tensor, bits: Bits) -> Quantized:
    """Quantize some rows."""
    columns, size = weight.size(1), GROUP_SIZE[bits]
    groups = F.pad(weight.float(), (0, -columns % size)).unflatten(1, (-1, size))
    if not groups.isfinite().all():
        raise NotFiniteError(
            "weights must be finite to be quantized, got others: the model has diverged; take the "
            "weights of an earlier checkpoint"
        )
    scales = (_scales_of_8_bits if bits == 8 else _scales_of_4_bits)(groups)
    codes = _codes(groups, scales, bits).flatten(1)[:, :columns].to(torch.int8)
    return Quantized(codes if bits == 8 else pack(codes), scales.squeeze(-1).to(torch.bfloat16))


def _scales_of_8_bits(groups: Tensor) -> Tensor:  # (R, G, size) -> (R, G, 1)
    return _rounded(groups.abs().amax(dim=-1, keepdim=True) / CODES[8][1])


def _scales_of_4_bits(groups: Tensor) -> Tensor:  # (R, G, size) -> (R, G, 1)
    largest = groups.gather(-1, groups.abs().argmax(dim=-1, keepdim=True))
    best, least = torch.zeros_like(largest), torch.full_like(largest, math.inf)
    for divisor in DIVISORS:
        scales = _rounded(largest / -divisor)
        codes = _codes(groups, scales, 4)
        errors = torch.addcmul(groups, codes, scales, value=-1).square_().sum(-1, keepdim=True)
        is_better = errors < least
        best, least = best.where(~is_better, scales), least.where(~is_better, errors)
    return best


def _rounded(scales: Tensor) -> Tensor:
    """Return scales as they are stored, in float32; 0 for those whose inverse would overflow."""
    return scales.where(scales.abs() >= torch.finfo(torch.bfloat16).tiny, 0.0).bfloat16().float()


def _codes(groups: Tensor, scales: Tensor, bits: Bits) -> Tensor:  # (R, G, size), (R, G, 1)
    """Return the nearest codes, in float32; 0 where the scale is 0."""
    inverse = torch.where(scales == 0, 0.0, 1 / scales)
    return (groups * inverse).round_().clamp_(*CODES[bits])


class QuantizedMatrix(nn.Module):
    """A matrix (R, K) as integers and scales, in buffers: it is not trained.

    Args:
        rows: R.
        columns: K.
        bits: Of a code, 8 or 4.
    """

    codes: Tensor
    scales: Tensor

    def __init__(self, rows: int, columns: int, bits: Bits) -> None:
        super().__init__()
        check_bits(bits)
        self.rows, self.columns, self.bits = rows, columns, bits
        width, dtype = (columns, torch.int8) if bits == 8 else (-(-columns // 2), torch.uint8)
        groups = -(-columns // GROUP_SIZE[bits])
        self.register_buffer("codes", torch.zeros(rows, width, dtype=dtype))
        self.register_buffer("scales", torch.zeros(rows, groups, dtype=torch.bfloat16))

    @property
    def weight(self) -> Tensor:
        """The matrix in float32, (R, K), computed anew each time."""
        return dequantize(Quantized(self.codes, self.scales), self.bits, self.columns)

    def assign(self, weight: Tensor) -> None:
        """Quantize a matrix (R, K) into this one."""
        self.codes, self.scales = quantize(weight, self.bits)

    def extra_repr(self) -> str:
        """Describe the matrix where torch prints the model."""
        return f"{self.rows}, {self.columns}, bits={self.bits}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move with the model to its device; the scales keep their dtype, whatever the model's."""
        scales = self.scales
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.scales = scales.to(self.codes.device)
        return self


class QuantizedLinear(QuantizedMatrix):
    """A linear layer of a quantized matrix: dequantized in each call, so correct and slow.

    Args:
        rows: Outputs.
        columns: Inputs.
        bits: Of a code, 8 or 4.
        bias: (R,), float32; none if not given.
    """

    def __init__(
        self, rows: int, columns: int, bits: Bits, bias: nn.Parameter | None = None
    ) -> None:
        super().__init__(rows, columns, bits)
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:  # (..., K) -> (..., R)
        return F.linear(x, self.weight, self.bias)


class QuantizedEmbedding(QuantizedMatrix):
    """Token embeddings of a quantized matrix: a lookup dequantizes its own rows alone."""

    def forward(self, ids: Tensor) -> Tensor:  # (...) -> (..., K)
        rows = Quantized(self.codes[ids], self.scales[ids])
        return dequantize(rows, self.bits, self.columns)


def quantize_network(network: "GPT2Network", bits: Bits, embedding_bits: Bits = 8) -> None:
    """Quantize the matrices of a network in place, one after the other.

    Those are the four of each block, the token embeddings and an untied head. The other weights
    become float32. On the meta device the network gets the shapes of a quantized one.

    Args:
        network: Of float weights. If an error is raised, some may be quantized already.
        bits: Of the codes of the blocks, 8 or 4.
        embedding_bits: Of the codes of token embeddings and head.
    Raises:
        ConfigError: There are no such bits, or the network is quantized already.
        NotFiniteError: A weight is not finite.
    """
    if isinstance(network.wte, QuantizedMatrix):
        raise ConfigError(
            f"the model is quantized already, to {network.wte.bits} bits; quantize the float one"
        )
    for each in (bits, embedding_bits):
        check_bits(each)
    for block in network.h:
        for name in BLOCK_MATRICES:
            _replace(block, name, bits)
    _replace(network, "wte", embedding_bits)
    if network.config.tie_word_embeddings:
        network.tie_head()
    else:
        _replace(network, "lm_head", embedding_bits)
    network.float()


def network_bits(network: "GPT2Network") -> NetworkBits | None:
    """Return the bits of a quantized network, None of one of float weights."""
    matrix, embeddings = network.block(0).mlp.c_fc, network.wte
    if not isinstance(matrix, QuantizedMatrix) or not isinstance(embeddings, QuantizedMatrix):
        return None
    return NetworkBits(matrix.bits, embeddings.bits)


def _replace(parent: nn.Module, name: str, bits: Bits) -> None:
    """Put a quantized matrix in the place of a layer, by its name below `parent`."""
    layer = parent.get_submodule(name)
    assert isinstance(layer, nn.Linear | nn.Embedding)
    rows, columns = layer.weight.shape
    matrix: QuantizedLinear | QuantizedEmbedding
    with layer.weight.device:
        if isinstance(layer, nn.Linear):
            matrix = QuantizedLinear(rows, columns, bits, layer.bias)
        else:
            matrix = QuantizedEmbedding(rows, columns, bits)
    if not layer.weight.is_meta:  # else there are shapes alone
        matrix.assign(layer.weight)
    parent.set_submodule(name, matrix)
