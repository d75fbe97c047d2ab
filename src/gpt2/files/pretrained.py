"""GPT2: the network with its tokenizer, from and to the files of a Hugging Face model directory."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import torch

from gpt2.config import AttentionBackend, GPT2Config
from gpt2.errors import ConfigError, InputError
from gpt2.files.hugging_face import (
    CONFIG_FILE,
    GENERATION_FILE,
    bits_from_entries,
    bits_to_entries,
    config_from_entries,
    config_to_entries,
    named_dtype,
    read_tokenizer,
    read_weights,
    stored_tensors,
)
from gpt2.files.names import locate
from gpt2.files.tensors import WEIGHTS_FILE, read_json, write_json, write_tensors
from gpt2.files.whole_directory import written_whole
from gpt2.model.gpt import GPT2Network
from gpt2.model.initialization import shapes_alone
from gpt2.model.quantized import NetworkBits, network_bits, quantize_network
from llm_tokenizer import END_OF_TEXT, Tokenizer
from llm_tokenizer.files import TOKENIZER_FILES

MODEL_FILES = (CONFIG_FILE, GENERATION_FILE, WEIGHTS_FILE, *TOKENIZER_FILES)  # that may be there
SPECIAL_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


class GPT2(GPT2Network):
    """A GPT-2 with its tokenizer.

    Args:
        config: Sizes and rates; see `GPT2Config`.
        tokenizer: What its ids mean; needed wherever text goes in or comes out.
        seed: Seed of the initial weights.
        attention: Backend of all blocks, or of `attention_blocks`: "manual" or "flash".
        attention_blocks: 0-based indices of the blocks that use it; the others use flash.
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
        name: str | Path,
        *,
        revision: str | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Self:
        """Load a model, ready to evaluate.

        Args:
            name: A released model, "gpt2", "gpt2-medium", "gpt2-large" or "gpt2-xl"; a run
                directory, of which the newest checkpoint is taken; a Hugging Face model directory;
                or a name on the hub. See `names.locate`.
            revision: Branch, tag or commit on the hub.
            dtype: Of the weights; that of config.json if not given, or else of the file. Of a
                quantized model's other weights, which are in float32 alone.
            device: Where to put them; the CPU if not given.
        Raises:
            CheckpointError: There is no such model, or it is damaged or no GPT-2.
            ConfigError: It needs mathematics that is not implemented here, or it is quantized and
                another dtype than float32 is asked for.
        """
        directory = locate(name, revision)
        entries = read_json(directory / CONFIG_FILE)
        config = config_from_entries(entries)
        if bits := bits_from_entries(entries):
            dtype = _dtype_beside(bits, directory, dtype)
        # Before the model is made: a damaged config.json may ask for one that takes long.
        weights = read_weights(directory, config, dtype or named_dtype(entries), device, bits)
        with shapes_alone():  # the weights are those of the file
            model = cls(config)
            if bits:
                quantize_network(model, *bits)
        model.load_state_dict(weights, assign=True)
        if (directory / GENERATION_FILE).exists():  # it wins over config.json
            entries |= read_json(directory / GENERATION_FILE)
        model.tokenizer = read_tokenizer(directory, config)
        model.special_ids = _special_ids(model.tokenizer)
        model.special_ids |= {key: entries[key] for key in SPECIAL_IDS if key in entries}
        return model.to(model.device).eval()

    def save_pretrained(
        self, directory: str | Path, *, beside: Mapping[str, bytes] | None = None
    ) -> None:
        """Write a directory that `from_pretrained` opens, and transformers unless it is quantized.

        A new directory appears when all its files are on the disk. In one that exists each file is
        replaced, after all have been written, and other files stay.

        Args:
            directory: Where the files are to be.
            beside: More files, such as README.md, by their names.
        Raises:
            CheckpointError, OSError: It cannot be written, as on a full disk.
        """
        directory = Path(directory)
        with written_whole(directory) as partial:
            self.write_files(partial)
            for name, content in (beside or {}).items():
                (partial / name).write_bytes(content)
            for file in TOKENIZER_FILES:  # a tokenizer that another model left is not this one's
                (directory / file).unlink(missing_ok=True)

    def write_files(self, directory: Path) -> None:
        """Write the files of a model directory into an empty one, not synced to the disk."""
        if self.tokenizer:
            self.tokenizer.save(directory)
        dtype = str(self.wpe.weight.dtype).removeprefix("torch.")
        entries = config_to_entries(self.config) | {"dtype": dtype}
        entries |= bits_to_entries(network_bits(self))
        write_json(directory / CONFIG_FILE, entries | self.special_ids)
        write_json(directory / GENERATION_FILE, {"_from_model_config": True} | self.special_ids)
        write_tensors(directory / WEIGHTS_FILE, dict(stored_tensors(self)))

    @property
    def quantization(self) -> Literal["int8", "int4"] | None:
        """What `quantize_network` has made of the matrices of the blocks, None if nothing."""
        bits = network_bits(self)
        if bits is None:
            return None
        return "int8" if bits.blocks == 8 else "int4"

    @property
    def end_ids(self) -> frozenset[int]:
        """The ids that end a text: that of <|endoftext|>, or what config.json says."""
        ids = self.special_ids.get("eos_token_id")
        listed = ids if isinstance(ids, list) else [ids]
        known = range(self.config.vocab_size)
        return frozenset(i for i in listed if type(i) is int and i in known)

    @property
    def start_id(self) -> int | None:
        """The id that opens a text: that of <|endoftext|>, or what config.json says."""
        start = self.special_ids.get("bos_token_id")
        return start if type(start) is int and start in range(self.config.vocab_size) else None

    @property
    def unused_ids(self) -> list[int]:
        """The ids that no token has: a vocabulary may be padded for speed, or have gaps."""
        if self.tokenizer is None:
            return []
        size = self.config.vocab_size
        gaps = [i for i in self.tokenizer.unused_ids if i < size]
        return [*gaps, *range(self.tokenizer.n_vocab, size)]

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


def _dtype_beside(bits: NetworkBits, directory: Path, dtype: torch.dtype | None) -> torch.dtype:
    """Return the dtype of what is not quantized: float32, as asked for or not."""
    if dtype not in (None, torch.float32):
        name = str(dtype).removeprefix("torch.")
        raise ConfigError(
            f"{directory} is quantized to {bits.blocks} bits and runs in float32 alone, got the "
            f"dtype {name}; leave it out, or take the model that it was made from"
        )
    return torch.float32


def _special_ids(tokenizer: Tokenizer | None) -> dict[str, Any]:
    """Return the special ids of config.json: <|endoftext|> opens a text, and ends it."""
    if tokenizer is None or END_OF_TEXT not in tokenizer.special_tokens_set:
        return {}
    return {"bos_token_id": tokenizer.eot_token, "eos_token_id": tokenizer.eot_token}
