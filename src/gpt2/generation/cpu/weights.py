"""A model's weights, laid out as the compiled pass reads them best: in panels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt2.generation.cpu.instructions import (
    BFLOAT16,
    FLOAT32,
    GROUP,
    INT4,
    INT8,
    LANES,
    PAIRS,
    panel_bytes,
)
from gpt2.generation.cpu.step import Matrix, Norm
from gpt2.model.gpt import GPT2Network

KINDS = {"float32": FLOAT32, "bfloat16": BFLOAT16, "int8": INT8, "int4": INT4}


class Panels:
    """Owns the memory of packed weights, and says where they are."""

    def __init__(self) -> None:
        self._kept: list[Tensor] = []

    @property
    def bytes(self) -> int:
        """Bytes of all that was packed."""
        return sum(tensor.nbytes for tensor in self._kept)

    def matrix(self, kind: int, packed: Tensor, outputs: int, depth: int, bias: Tensor | None) -> Matrix:
        size = packed.nbytes // packed.size(0)
        return Matrix(
            kind, self.keep(packed), size, depth, outputs, 0 if bias is None else self.vector(bias)
        )

    def floats(self, kind: int, weight: Tensor, bias: Tensor | None) -> Matrix:
        """Pack a matrix (outputs, inputs) of floating point."""
        dtype = torch.float32 if kind == FLOAT32 else torch.bfloat16
        return self.matrix(kind, _panels(weight.to(dtype)), *weight.shape, bias)

    def integers(self, codes: Tensor, scales: Tensor, bits: int, bias: Tensor | None) -> Matrix:
        """Pack a matrix of integers (outputs, inputs) and their scales (outputs, groups)."""
        kind = INT8 if bits == 8 else INT4
        packed = _pack_integers(kind, codes, scales)
        return self.matrix(kind, packed, codes.size(0), packed.size(1), bias)

    def table(self, model: GPT2Network, dtype: str) -> Tensor:
        """Pack all weights; return the numbers by which the compiled pass finds them."""
        kind = KINDS[dtype]
        numbers: list[int] = []
        for block in model.h:
            for norm, matrices in (
                (block.ln_1, (block.attn.c_attn, block.attn.c_proj)),
                (block.ln_2, (block.mlp.c_fc, block.mlp.c_proj)),
            ):
                numbers += self.norm(norm)
                for matrix in matrices:
                    numbers += self.floats(kind, matrix.weight.detach(), matrix.bias)
        numbers += self.norm(model.ln_f)
        numbers += self.floats(kind, model.lm_head.weight.detach(), None)
        return torch.tensor(numbers, dtype=torch.int64)

    def norm(self, norm: nn.LayerNorm) -> Norm:
        return Norm(self.vector(norm.weight), self.vector(norm.bias))

    def vector(self, values: Tensor) -> int:
        """Keep a vector in float32; return its address."""
        return self.keep(values.detach().float().contiguous().clone())

    def keep(self, tensor: Tensor) -> int:
        """Keep a tensor; return its address."""
        self._kept.append(tensor)
        return tensor.data_ptr()


def _in_panels(rows: Tensor) -> Tensor:  # (R, ...) -> (P, LANES, ...), with zeros at the end
    missing = -rows.size(0) % LANES
    padded = F.pad(rows, [0, 0] * (rows.ndim - 1) + [0, missing]) if missing else rows
    return padded.unflatten(0, (-1, LANES))


def _panels(weight: Tensor) -> Tensor:  # (R, K) -> (P, K, LANES)
    panels, left = divmod(weight.size(0), LANES)
    packed = weight.new_empty(panels + bool(left), weight.size(1), LANES)
    packed[:panels] = weight[: panels * LANES].unflatten(0, (panels, LANES)).transpose(1, 2)
    if left:
        packed[panels] = 0
        packed[panels, :, :left] = weight[panels * LANES :].t()
    return packed


def _pack_integers(kind: int, codes: Tensor, scales: Tensor) -> Tensor:
    """Return (P, groups, bytes): of each group its scales (LANES), then its integers."""
    group, pairs = GROUP[kind], PAIRS[kind]
    codes = F.pad(codes, [0, -codes.size(1) % group])
    loads = group // (2 * pairs)
    shaped = _in_panels(codes.unflatten(1, (-1, loads, pairs, 2)))  # (P, LANES, G, loads, pairs, 2)
    shaped = shaped.permute(0, 2, 3, 1, 5, 4)  # (P, G, loads, LANES, 2, pairs)
    if kind == INT4:  # four in 16 bits, the first pair's lowest
        nibbles = (shaped.to(torch.int32) & 15) << torch.tensor([0, 4, 8, 12], dtype=torch.int32)
        shaped = nibbles.sum(-1, dtype=torch.int32).to(torch.int16)
    integers = shaped.contiguous().flatten(2).view(torch.uint8)  # (P, G, bytes)
    of_rows = _in_panels(scales.to(torch.bfloat16)).transpose(1, 2).contiguous()  # (P, G, LANES)
    packed = torch.cat([of_rows.view(torch.uint8), integers], dim=2)
    assert packed.size(1) * packed.size(2) == panel_bytes(kind, codes.size(1))
    return packed
