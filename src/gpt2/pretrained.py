"""GPT2: the network with its tokenizer and its files, those of a Hugging Face model directory."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from gpt2.config import AttentionBackend, GPT2Config
from gpt2.errors import CheckpointError, ConfigError, InputError
from gpt2.model.gpt import GPT2Network
from gpt2.model_hub import CONFIG_FILE, GENERATION_FILE, locate
from gpt2.weight_files import WEIGHTS_FILE, read_json, read_tensors, write_tensors
from llm_tokenizer import END_OF_TEXT, Tokenizer, TokenizerError
from llm_tokenizer.files import TOKENIZER_FILES
from llm_tokenizer.text_files import write_whole

# Our name and Hugging Face's of every tensor, N being the number of a block. There the matrices of
# a block lie as (inputs, outputs), the transpose of what nn.Linear holds.
AS_IS, TRANSPOSED = False, True
NAMES = (
    ("wte.weight", "transformer.wte.weight", AS_IS),
    ("wpe.weight", "transformer.wpe.weight", AS_IS),
    ("h.N.ln_1.weight", "transformer.h.N.ln_1.weight", AS_IS),
    ("h.N.ln_1.bias", "transformer.h.N.ln_1.bias", AS_IS),
    ("h.N.attn.c_attn.weight", "transformer.h.N.attn.c_attn.weight", TRANSPOSED),
    ("h.N.attn.c_attn.bias", "transformer.h.N.attn.c_attn.bias", AS_IS),
    ("h.N.attn.c_proj.weight", "transformer.h.N.attn.c_proj.weight", TRANSPOSED),
    ("h.N.attn.c_proj.bias", "transformer.h.N.attn.c_proj.bias", AS_IS),
    ("h.N.ln_2.weight", "transformer.h.N.ln_2.weight", AS_IS),
    ("h.N.ln_2.bias", "transformer.h.N.ln_2.bias", AS_IS),
    ("h.N.mlp.c_fc.weight", "transformer.h.N.mlp.c_fc.weight", TRANSPOSED),
    ("h.N.mlp.c_fc.bias", "transformer.h.N.mlp.c_fc.bias", AS_IS),
    ("h.N.mlp.c_proj.weight", "transformer.h.N.mlp.c_proj.weight", TRANSPOSED),
    ("h.N.mlp.c_proj.bias", "transformer.h.N.mlp.c_proj.bias", AS_IS),
    ("ln_f.weight", "transformer.ln_f.weight", AS_IS),
    ("ln_f.bias", "transformer.ln_f.bias", AS_IS),
    ("lm_head.weight", "lm_head.weight", AS_IS),
)
PREFIX = "transformer."  # the oldest files lack it
SKIPPED = (".attn.bias", ".attn.masked_bias")  # causal masks that old files carry
EMBEDDINGS, HEAD = "transformer.wte.weight", "lm_head.weight"  # equal where the head is tied
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)  # that a model can run in
SPECIAL_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


class Place(NamedTuple):
    """Where a tensor of a file belongs in the model."""

    name: str  # ours
    transposed: bool
    shape: tuple[int, ...]  # in the file


class GPT2(GPT2Network):
    """A GPT-2 with its tokenizer.

    Args:
        config: Sizes and rates; see `GPT2Config`.
        tokenizer: What its ids mean; needed wherever text goes in or comes out.
        seed: Seed of the initial weights.
        attention: Backend of all blocks, or of `attention_blocks`: "manual" or "flash".
        attention_blocks: Blocks that use it, the first being 0; the others use flash.
    """

    def __init__(
        self,
        config: GPT2Config,
        *,
        tokenizer: Tokenizer | None = None,
        seed: int = 0,
        attention: AttentionBackend = "flash",
        attention_blocks: Iterable[int] | None = None,
    ) -> None:
        super().__init__(config, seed=seed, attention=attention, attention_blocks=attention_blocks)
        if tokenizer and tokenizer.n_vocab > config.vocab_size:
            raise ConfigError(
                f"model.vocab_size must be at least the tokenizer's {tokenizer.n_vocab}, "
                f"got {config.vocab_size}"
            )
        self.tokenizer = tokenizer
        self.special_ids = _special_ids(tokenizer)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        revision: str | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Self:
        """Load a Hugging Face GPT-2, ready to evaluate.

        Args:
            name_or_path: A local directory, or a name on the hub; "gpt2", "gpt2-medium",
                "gpt2-large" and "gpt2-xl" are the released models.
            revision: Branch, tag or commit on the hub.
            dtype: Of the weights; that of config.json if not given, or else of the file.
            device: Where to put them; the CPU if not given.
        Raises:
            CheckpointError: Nothing is there, or it is damaged or no GPT-2.
            ConfigError: It needs mathematics that is not implemented here.
        """
        directory = locate(name_or_path, revision)
        entries = read_json(directory / CONFIG_FILE)
        config = GPT2Config.from_hugging_face(entries)
        with torch.device("meta"):  # shapes alone: the weights are those of the file
            model = cls(config)
        weights = _read_weights(directory, config, dtype or _named_dtype(entries), device)
        model.load_state_dict(weights, assign=True)
        model.build_masks(device)
        if (directory / GENERATION_FILE).exists():  # what it says of them goes before config.json
            entries |= read_json(directory / GENERATION_FILE)
        model.tokenizer = read_tokenizer(directory, config)
        model.special_ids = _special_ids(model.tokenizer)
        model.special_ids |= {name: entries[name] for name in SPECIAL_IDS if name in entries}
        return model.eval()

    def save_pretrained(self, directory: str | Path) -> None:
        """Write a directory that `from_pretrained` and transformers open."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        if self.tokenizer:
            self.tokenizer.save(directory)
        else:  # what another model left there is no part of this one
            for file in TOKENIZER_FILES:
                (directory / file).unlink(missing_ok=True)
        entries = self.config.to_hugging_face() | {
            "dtype": str(self.wte.weight.dtype).removeprefix("torch.")
        }
        _write_json(directory / CONFIG_FILE, entries | self.special_ids)
        generation = {"_from_model_config": True} | self.special_ids
        _write_json(directory / GENERATION_FILE, generation)
        write_tensors(directory / WEIGHTS_FILE, dict(hugging_face_tensors(self)))

    @property
    def end_ids(self) -> frozenset[int]:
        """The ids that end a text: that of <|endoftext|>, or what config.json says."""
        ids = self.special_ids.get("eos_token_id")
        listed = ids if isinstance(ids, list) else [ids]
        known = range(self.config.vocab_size)
        return frozenset(i for i in listed if type(i) is int and i in known)

    @property
    def readable_ids(self) -> int:
        """The number of ids that stand for something: a vocabulary may be padded for speed."""
        size = self.config.vocab_size
        return size if self.tokenizer is None else min(size, self.tokenizer.n_vocab)

    def require_tokenizer(self) -> Tokenizer:
        """Return the tokenizer.

        Raises:
            InputError: The model has none, so text can go neither in nor out.
        """
        if self.tokenizer is None:
            raise InputError(
                "the model has no tokenizer; put vocab.json and merges.txt into its directory"
            )
        return self.tokenizer


def hugging_face_tensors(model: GPT2Network) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a model as Hugging Face's files hold them, each with its name."""
    weights = model.state_dict()
    for theirs, place in places(model.config).items():
        weight = weights[place.name]
        yield theirs, (weight.t() if place.transposed else weight).contiguous()


def places(config: GPT2Config) -> dict[str, Place]:
    """Return where each tensor of a model belongs, by Hugging Face's name of it.

    >>> places(GPT2Config(n_embd=12))["transformer.h.0.attn.c_attn.weight"]
    Place(name='h.0.attn.c_attn.weight', transposed=True, shape=(12, 36))
    """
    with torch.device("meta"):
        wanted = GPT2Network(config).state_dict()
    table = {}
    for ours, theirs, transposed in NAMES:
        for number in range(config.n_layer if ".N." in ours else 1):
            name = ours.replace("N", str(number), 1)
            if name in wanted:  # a tied head is not
                shape = tuple(wanted[name].shape)
                table[theirs.replace("N", str(number), 1)] = Place(
                    name, transposed, shape[::-1] if transposed else shape
                )
    return table


def _read_weights(
    directory: Path,
    config: GPT2Config,
    dtype: torch.dtype | None,
    device: torch.device | str | None,
) -> dict[str, Tensor]:
    """Return the weights of a model directory by our names, at most one tensor twice in memory.

    They are all of one dtype, that of the first in the file if none is given.

    Raises:
        CheckpointError: A file is damaged, or tensors are missing, unexpected or misshapen; all
            of them are told.
    """
    table = places(config)
    if config.tie_word_embeddings:  # a file may hold the head, too: the embeddings again
        table[HEAD] = table[EMBEDDINGS]
    weights: dict[str, Tensor] = {}  # by Hugging Face's names
    wrong = []
    for stored, tensor in read_tensors(directory):
        if stored.endswith(SKIPPED):
            continue
        theirs = stored if stored in table else PREFIX + stored
        place = table.get(theirs)
        got = f"{tuple(tensor.shape)} of {tensor.dtype}"
        if place is None:
            wrong.append(f"unexpected {stored} {got}")
        elif theirs in weights:
            wrong.append(f"{stored} twice")
        elif tensor.shape != place.shape or not tensor.is_floating_point():
            wrong.append(f"{stored} must be {place.shape} of floating point, got {got}")
            weights[theirs] = tensor  # so that it is not told as missing, too
        else:
            dtype = dtype or (tensor.dtype if tensor.dtype in DTYPES else torch.float32)
            # A copy, so that the weights outlive the file, laid out and placed as they will stay.
            source = tensor.t() if place.transposed else tensor
            weights[theirs] = torch.empty(source.shape, dtype=dtype, device=device).copy_(source)
    if config.tie_word_embeddings:
        del table[HEAD]
        head = weights.pop(HEAD, None)
        if head is not None and not weights.setdefault(EMBEDDINGS, head).equal(head):
            wrong.append(
                f"{HEAD} must be tied, so equal to {EMBEDDINGS}, and is not; to have it as a head "
                "of its own, set tie_word_embeddings to false"
            )
    missing = [f"missing {name} {table[name].shape}" for name in table.keys() - weights.keys()]
    if wrong := sorted(missing) + wrong:
        raise CheckpointError(f"{directory} does not fit its {CONFIG_FILE}: {'; '.join(wrong)}")
    return {table[theirs].name: weight for theirs, weight in weights.items()}


def read_tokenizer(directory: Path, config: GPT2Config) -> Tokenizer | None:
    """Return the tokenizer of a model directory, GPT-2's if none lies there and the size is its.

    Raises:
        CheckpointError: It is damaged, or has ids that the model does not.
    """
    if any((directory / file).exists() for file in TOKENIZER_FILES):
        try:
            tokenizer = Tokenizer.load(directory)
        except TokenizerError as error:
            raise CheckpointError(str(error)) from None
        largest = max(tokenizer.vocabulary.token_ids.values())
        if largest >= config.vocab_size:  # special ones may lie beyond: text has none of them
            raise CheckpointError(
                f"{directory} holds a tokenizer with the id {largest} and a model of "
                f"{config.vocab_size} ids; wanted a model of at least {largest + 1}"
            )
        return tokenizer
    gpt2 = Tokenizer.gpt2()
    return gpt2 if config.vocab_size == gpt2.n_vocab else None


def _named_dtype(entries: Mapping[str, Any]) -> torch.dtype | None:
    """Return the dtype that a config.json names, None if it names none."""
    name = entries.get("dtype") or entries.get("torch_dtype")
    dtype = getattr(torch, name, None) if isinstance(name, str) else None
    return dtype if dtype in DTYPES else None


def _special_ids(tokenizer: Tokenizer | None) -> dict[str, Any]:
    """Return what config.json says of special ids: <|endoftext|> opens a text, and ends it."""
    if tokenizer is None or END_OF_TEXT not in tokenizer.special_tokens_set:
        return {}
    return {"bos_token_id": tokenizer.eot_token, "eos_token_id": tokenizer.eot_token}


def _write_json(path: Path, entries: dict[str, Any]) -> None:
    write_whole(path, json.dumps(entries, indent=2).encode() + b"\n")
