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
)
from gpt2.generation.cpu.step import Matrix, Norm
from gpt2.model.gpt import GPT2Network, TiedHead
from gpt2.model.quantized import Quantized, QuantizedEmbedding, QuantizedMatrix, quantize, unpack

Embeddings = nn.Embedding | QuantizedEmbedding
Layer = nn.Linear | nn.Embedding | TiedHead | QuantizedMatrix
KINDS = {"float32": FLOAT32, "bfloat16": BFLOAT16, "int8": INT8, "int4": INT4}


class Panels:
    """Owns the memory of packed weights, and says where they are."""

    def __init__(self) -> None:
        self._kept: list[Tensor] = []

    @property
    def bytes(self) -> int:
        """Bytes of all that was packed."""
        return sum(tensor.nbytes for tensor in self._kept)

    def table(
        self, model: GPT2Network, precision: str, embeddings: Embeddings, *, take: bool
    ) -> int:
        """Pack all weights; return the address of the numbers by which the pass finds them.

        Args:
            model: The network.
            precision: A key of KINDS.
            embeddings: Those of the tokens, as `token_embeddings` returns them.
            take: Let go of the model's own matrices of the blocks as soon as they are packed.
        """
        kind = KINDS[precision]
        numbers: list[int] = []
        for index in range(model.config.n_layer):
            block = model.block(index)
            numbers += self._norm(block.ln_1)
            numbers += self._matrix(kind, block.attn.c_attn, block.attn.c_attn.bias)
            numbers += self._matrix(kind, block.attn.c_proj, block.attn.c_proj.bias)
            numbers += self._norm(block.ln_2)
            numbers += self._matrix(kind, block.mlp.c_fc, block.mlp.c_fc.bias)
            numbers += self._matrix(kind, block.mlp.c_proj, block.mlp.c_proj.bias)
            if take:
                block.to("meta")
        head = embeddings if model.config.tie_word_embeddings else model.lm_head
        numbers += self._norm(model.ln_f)
        numbers += self._matrix(INT8 if kind == INT4 else kind, head, None)
        return self.keep(torch.tensor(numbers, dtype=torch.int64))

    def _matrix(self, kind: int, layer: Layer, bias: Tensor | None) -> Matrix:
        """Pack the matrix of a layer, (outputs, inputs)."""
        if isinstance(layer, QuantizedMatrix):
            kind = INT8 if layer.bits == 8 else INT4
            packed = _pack_integers(kind, Quantized(layer.codes, layer.scales))
            outputs, depth = layer.rows, packed.size(1)
        elif kind in GROUP:
            packed = _pack_integers(kind, quantize(layer.weight, 8 if kind == INT8 else 4))
            outputs, depth = layer.weight.size(0), packed.size(1)
        else:
            dtype = torch.float32 if kind == FLOAT32 else torch.bfloat16
            packed = _pack_floats(layer.weight.detach().to(dtype))
            outputs, depth = layer.weight.shape
        address = 0 if bias is None else self.vector(F.pad(bias, [0, -outputs % LANES]))
        return Matrix(kind, self.keep(packed), packed[0].nbytes, depth, outputs, address)

    def _norm(self, norm: nn.LayerNorm) -> Norm:
        return Norm(self.vector(norm.weight), self.vector(norm.bias))

    def vector(self, values: Tensor) -> int:
        """Keep a vector in float32; return its address."""
        return self.keep(values.detach().float().contiguous().clone())

    def keep(self, tensor: Tensor) -> int:
        """Keep a tensor; return its address."""
        self._kept.append(tensor)
        return tensor.data_ptr()


def token_embeddings(model: GPT2Network, precision: str) -> Embeddings:
    """Return the model's token embeddings, or 8-bit ones for int8 and int4, as in their files."""
    if KINDS[precision] not in GROUP or isinstance(model.wte, QuantizedMatrix):
        return model.wte
    rows, columns = model.wte.weight.shape
    quantized = QuantizedEmbedding(rows, columns, 8)
    quantized.assign(model.wte.weight)
    return quantized


def _in_panels(rows: Tensor) -> Tensor:  # (R, ...) -> (P, LANES, ...), with zeros at the end
    missing = -rows.size(0) % LANES
    padded = F.pad(rows, [0, 0] * (rows.ndim - 1) + [0, missing]) if missing else rows
    return padded.unflatten(0, (-1, LANES))


def _pack_floats(weight: Tensor) -> Tensor:  # (R, K) -> (P, K, LANES)
    panels, left = divmod(weight.size(0), LANES)
    packed = weight.new_empty(panels + bool(left), weight.size(1), LANES)
    packed[:panels] = weight[: panels * LANES].unflatten(0, (panels, LANES)).transpose(1, 2)
    if left:
        packed[panels] = 0
        packed[panels, :, :left] = weight[panels * LANES :].t()
    return packed


def _pack_integers(kind: int, weight: Quantized) -> Tensor:
    """Return (P, groups, bytes): of each group its scales (LANES), then its integers."""
    group, pairs = GROUP[kind], PAIRS[kind]
    codes = weight.codes if kind == INT8 else unpack(weight.codes)
    codes = F.pad(codes, [0, -codes.size(1) % group])
    shaped = _in_panels(codes.unflatten(1, (-1, group // (2 * pairs), pairs, 2)))
    shaped = shaped.permute(0, 2, 3, 1, 5, 4)  # (P, groups, loads, LANES, 2, pairs)
    if kind == INT4:  # four in 16 bits, the first pair's lowest
        first, *others = (shaped[..., pair].short() & 15 for pair in range(pairs))
        for number, nibbles in enumerate(others, 1):
            first |= nibbles << 4 * number
        shaped = first
    integers = shaped.contiguous().flatten(2).view(torch.uint8)
    scales = _in_panels(weight.scales).transpose(1, 2).contiguous()  # (P, groups, LANES)
    return torch.cat([scales.view(torch.uint8), integers], dim=2)
