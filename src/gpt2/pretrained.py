"""GPT2: the network with its tokenizer and its files, those of a Hugging Face model directory."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import huggingface_hub
import safetensors
import safetensors.torch
import torch
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from torch import Tensor

from gpt2.config import PRESETS, GPT2Config
from gpt2.errors import CheckpointError, ConfigError, InputError
from gpt2.model.gpt import GPT2Network
from llm_tokenizer import END_OF_TEXT, Tokenizer, TokenizerError
from llm_tokenizer.files import MERGES_FILE, TOKENIZER_FILE, VOCAB_FILE
from llm_tokenizer.text_files import write_whole

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
TOKENIZER_FILES = [VOCAB_FILE, MERGES_FILE, TOKENIZER_FILE]

# Hugging Face's names are ours behind a prefix, which the oldest files lack. These four matrices of
# each block lie there as (inputs, outputs), the transpose of what nn.Linear holds.
PREFIX = "transformer."
TRANSPOSED = (
    "attn.c_attn.weight",
    "attn.c_proj.weight",
    "mlp.c_fc.weight",
    "mlp.c_proj.weight",
)
SKIPPED = (".attn.bias", ".attn.masked_bias")  # causal masks that old files carry
HEAD = "lm_head.weight"  # the token embeddings again, in the files that have it


class GPT2(GPT2Network):
    """A GPT-2 with its tokenizer.

    Args:
        config: Sizes and rates; see `GPT2Config`.
        tokenizer: What its ids mean; needed wherever text goes in or comes out.
        seed: Seed of the initial weights.
    """

    def __init__(
        self, config: GPT2Config, *, tokenizer: Tokenizer | None = None, seed: int = 0
    ) -> None:
        super().__init__(config, seed=seed)
        if tokenizer and tokenizer.n_vocab > config.vocab_size:
            raise ConfigError(
                f"model.vocab_size must be at least the tokenizer's {tokenizer.n_vocab}, "
                f"got {config.vocab_size}"
            )
        self.tokenizer = tokenizer

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
            dtype: Of the weights; as in the file if not given.
            device: Where to put them; the CPU if not given.
        Raises:
            CheckpointError: Nothing is there, or it is damaged or no GPT-2.
            ConfigError: It needs mathematics that is not implemented here.
        """
        directory = _locate(name_or_path, revision)
        config = GPT2Config.from_hugging_face(_read_json(directory / CONFIG_FILE))
        model = cls(config, tokenizer=_read_tokenizer(directory, config))
        stored = _read_weights(model, directory / WEIGHTS_FILE)
        return model.to(device=device, dtype=dtype or stored).eval()

    def save_pretrained(self, directory: str | Path) -> None:
        """Write a directory that `from_pretrained` and transformers open."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        entries = self.config.to_hugging_face() | {"dtype": str(self.wte.weight.dtype)[6:]}
        generation: dict[str, Any] = {"_from_model_config": True}
        if self.tokenizer:
            self.tokenizer.save(directory)
        if (end := self.end_of_text) >= 0:
            entries |= {"bos_token_id": end, "eos_token_id": end}
            generation |= {"bos_token_id": end, "eos_token_id": end}
        _write_json(directory / CONFIG_FILE, entries)
        _write_json(directory / "generation_config.json", generation)
        weights = {to_hugging_face(name): _turn(name, t) for name, t in self.state_dict().items()}
        write_tensors(directory / WEIGHTS_FILE, weights)

    @property
    def end_of_text(self) -> int:
        """The id of <|endoftext|>; -1, which is no id, without a tokenizer that has it."""
        if self.tokenizer is None or END_OF_TEXT not in self.tokenizer.special_tokens_set:
            return -1
        return self.tokenizer.eot_token

    @property
    def readable_ids(self) -> int:
        """The number of ids that stand for something: a vocabulary may be padded for speed."""
        return self.config.vocab_size if self.tokenizer is None else self.tokenizer.n_vocab

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


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file, whole or not at all.

    Raises:
        CheckpointError: It could not be written, as on a full disk.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        safetensors.torch.save_file(tensors, partial, metadata={"format": "pt"})
    except SafetensorError as error:
        partial.unlink(missing_ok=True)
        raise CheckpointError(f"could not write {path}: {error}") from None
    partial.chmod(path.parent.stat().st_mode & 0o666)  # the library lets nobody else read it
    partial.replace(path)


def to_hugging_face(name: str) -> str:
    """Return Hugging Face's name of one of our tensors.

    >>> to_hugging_face("h.0.attn.c_attn.weight")
    'transformer.h.0.attn.c_attn.weight'
    """
    return PREFIX + name


def from_hugging_face(name: str) -> str | None:
    """Return our name of one of Hugging Face's tensors, None for one that is not a weight."""
    return None if name.endswith(SKIPPED) or name == HEAD else name.removeprefix(PREFIX)


def _turn(name: str, tensor: Tensor) -> Tensor:
    """Return a tensor in the other layout of the two."""
    return tensor.t().contiguous() if name.endswith(TRANSPOSED) else tensor


@torch.no_grad()
def _read_weights(model: GPT2Network, path: Path) -> torch.dtype:
    """Copy the weights of a file into the model, one at a time.

    Returns:
        The dtype of the token embeddings in the file.
    """
    wanted = model.state_dict()
    try:
        with safetensors.safe_open(path, "pt") as file:
            stored = list(file.keys())
            wrong = _misnamed(stored, wanted)
            for theirs in stored:
                ours = from_hugging_face(theirs)
                if ours is not None and ours in wanted:
                    wrong += _copy(_turn(ours, file.get_tensor(theirs)), wanted[ours], ours)
                if ours == "wte.weight":
                    embeddings = file.get_tensor(theirs)
            if HEAD in stored and not wrong and not file.get_tensor(HEAD).equal(embeddings):
                wrong = [f"{HEAD} must be tied, so equal to wte.weight, and is not"]
    except OSError:
        raise _no_weights(path) from None
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file: {error}") from None
    if wrong:
        raise CheckpointError(f"{path} does not fit its {CONFIG_FILE}: {'; '.join(sorted(wrong))}")
    return embeddings.dtype


def _misnamed(stored: Sequence[str], wanted: Mapping[str, Tensor]) -> list[str]:
    """Return what is wrong with the names of a file's tensors."""
    counts = Counter(name for name in map(from_hugging_face, stored) if name)
    return [
        *(f"missing {name}" for name in wanted if name not in counts),
        *(f"unexpected {name}" for name in counts if name not in wanted),
        *(f"{name} twice" for name, count in counts.items() if count > 1),
    ]


def _copy(tensor: Tensor, place: Tensor, name: str) -> list[str]:
    """Copy a tensor to its place, or return why it does not fit there."""
    wanted, got = tuple(place.shape), tuple(tensor.shape)
    if got != wanted or not tensor.is_floating_point():
        return [f"{name} must be {wanted} of floating point, got {got} of {tensor.dtype}"]
    place.copy_(tensor)
    return []


def _no_weights(path: Path) -> CheckpointError:
    directory = path.parent
    others = [*sorted(directory.glob("*.bin")), *sorted(directory.glob("*.index.json"))]
    names = ", ".join(file.name for file in others)
    return CheckpointError(
        f"{path} not found; a model directory holds its weights in one {WEIGHTS_FILE}"
        + (f"; this one has {names}, which are not read yet" if names else "")
    )


def _read_tokenizer(directory: Path, config: GPT2Config) -> Tokenizer | None:
    if any((directory / file).exists() for file in TOKENIZER_FILES):
        try:
            return Tokenizer.load(directory)
        except TokenizerError as error:
            raise CheckpointError(str(error)) from None
    gpt2 = Tokenizer.gpt2()
    return gpt2 if config.vocab_size == gpt2.n_vocab else None


def _locate(name_or_path: str | Path, revision: str | None) -> Path:
    """Return the local directory of a model, downloaded if need be."""
    if (directory := Path(name_or_path)).is_dir():
        return directory
    name = str(name_or_path)
    repository = f"openai-community/{name}" if name in PRESETS else name
    try:
        found = huggingface_hub.snapshot_download(
            repository,
            revision=revision,
            allow_patterns=[CONFIG_FILE, WEIGHTS_FILE, *TOKENIZER_FILES],
        )
    except HFValidationError:
        raise CheckpointError(
            f"no model at {name!r}: wanted a local directory or a name on the Hugging Face hub, "
            "such as gpt2 or owner/model"
        ) from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"no directory {name!r} here, and {repository!r} could not be downloaded from the "
            f"Hugging Face hub ({type(error).__name__}); check the name and the network, or give "
            "a local model directory"
        ) from None
    return Path(found)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} not found; a model directory holds {CONFIG_FILE} and {WEIGHTS_FILE}"
        ) from None
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(entries, dict):
        raise CheckpointError(f"{path} must be an object of settings, got {entries!r:.40}")
    return entries


def _write_json(path: Path, entries: dict[str, Any]) -> None:
    write_whole(path, json.dumps(entries, indent=2).encode() + b"\n")
