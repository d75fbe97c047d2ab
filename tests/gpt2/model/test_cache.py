"""The seam of a key-value cache: cached, batched and uncached are one computation."""

import pytest
import torch
from torch import Tensor

from gpt2.config import GPT2Config
from gpt2.errors import InputError
from gpt2.model.gpt import GPT2Network

# Sums in another order: float32 has 24 bits, and logits here are below 4.
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


class TinyBlockCache:
    def __init__(self) -> None:
        self.k = self.v = torch.empty(0)

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        is_new = self.k.numel() == 0
        self.k = k if is_new else torch.cat([self.k, k], dim=2)
        self.v = v if is_new else torch.cat([self.v, v], dim=2)
        return self.k, self.v


class TinyCache:
    """The simplest cache there is: it grows, and all its rows have one length."""

    def __init__(self, blocks: int) -> None:
        self.blocks = [TinyBlockCache() for _ in range(blocks)]

    @property
    def longest(self) -> int:
        return 0 if self.blocks[0].k.numel() == 0 else self.blocks[0].k.size(2)

    def positions(self, new: int) -> Tensor:
        return torch.arange(self.longest, self.longest + new)[None]

    def mask(self, positions: Tensor) -> Tensor:
        columns = torch.arange(int(positions.max()) + 1)
        return (columns <= positions[..., None])[:, None]

    def block(self, index: int) -> TinyBlockCache:
        return self.blocks[index]


@pytest.fixture(params=["manual", "flash"])
def network(request: pytest.FixtureRequest) -> GPT2Network:
    config = GPT2Config(
        vocab_size=50,
        n_positions=12,
        n_embd=16,
        n_layer=3,
        n_head=2,
        scale_attn_by_inverse_layer_idx=True,
        initializer_range=0.3,
    )
    return GPT2Network(config, attention=request.param).eval()


def some_ids(rows: int, length: int) -> Tensor:
    return torch.randint(0, 50, (rows, length), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("pieces", [[10], [1] * 10, [4, 1, 5], [9, 1]], ids=str)
@torch.inference_mode()
def test_pieces_with_a_cache_have_the_logits_of_the_whole(
    network: GPT2Network, pieces: list[int]
) -> None:
    ids = some_ids(3, 10)
    cache = TinyCache(3)
    cached = [network.logits(network.hidden(piece, cache)) for piece in ids.split(pieces, dim=1)]
    assert cache.longest == 10
    torch.testing.assert_close(torch.cat(cached, dim=1), network(ids), **CLOSE)


def test_more_tokens_than_positions_are_refused_with_what_is_cached(network: GPT2Network) -> None:
    cache = TinyCache(3)
    network.hidden(some_ids(1, 10), cache)
    with pytest.raises(InputError, match=r"1 to 2 tokens\) after the 10 that are cached"):
        network.hidden(some_ids(1, 3), cache)


def test_another_head_gives_the_logits(network: GPT2Network) -> None:
    class Doubled(torch.nn.Module):
        def forward(self, hidden: Tensor) -> Tensor:
            return 2 * hidden @ network.wte.weight.t()

    ids = some_ids(2, 5)
    expected = 2 * network(ids)
    network.lm_head = Doubled()
    torch.testing.assert_close(network(ids), expected, **CLOSE)


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_has_one_mask_and_no_tensor_twice(tied: bool) -> None:
    config = GPT2Config(
        vocab_size=9, n_positions=5, n_embd=4, n_layer=2, n_head=2, tie_word_embeddings=tied
    )
    network = GPT2Network(config)
    assert [(name, tuple(mask.shape)) for name, mask in network.named_buffers()] == [
        ("mask", (1, 1, 5, 5))
    ]
    names = [name for name in network.state_dict() if name.split(".")[0] not in ("h", "ln_f")]
    assert names == ["wte.weight", "wpe.weight"] + ["lm_head.weight"] * (not tied)
