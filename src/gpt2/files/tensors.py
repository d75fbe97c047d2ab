"""Files of weights: named tensors in the forms that Hugging Face repositories hold them in."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from gpt2.errors import CheckpointError
from llm_tokenizer.atomic import write_whole, written_atomically

WEIGHTS_FILE = "model.safetensors"
INDEX = ".index.json"  # of a model whose weights lie in several files
# In order of preference. The latter are pickles, of which torch reads the tensors alone.
FORMS = (
    WEIGHTS_FILE,
    WEIGHTS_FILE + INDEX,
    "pytorch_model.bin",
    "pytorch_model.bin" + INDEX,
)


def read_tensors(directory: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield the name of every tensor of a model directory with the tensor, one at a time.

    A tensor may lie in the mapped file: copy it, and let it go before the next is asked for.

    Raises:
        CheckpointError: There are no weights, or a file is missing or damaged.
    """
    form = next((directory / form for form in FORMS if (directory / form).exists()), None)
    if form is None:
        raise CheckpointError(
            f"{directory / WEIGHTS_FILE} not found; a model directory holds its weights as "
            + ", or ".join(FORMS)
        )
    for file in files_of(form):
        yield from (_read_pickle if file.suffix == ".bin" else _read_safetensors)(file)


def files_of(form: Path) -> list[Path]:
    """Return the files that hold the tensors: the one given, or those that an index lists.

    Raises:
        CheckpointError: The index is damaged.
    """
    if not form.name.endswith(INDEX):
        return [form]
    names = read_json(form).get("weight_map")
    if not isinstance(names, dict) or not all(map(_is_file_name, names.values())) or not names:
        raise CheckpointError(f"{form} must map tensors to files beside it under weight_map")
    return [form.with_name(name) for name in sorted(set(names.values()))]


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file atomically.

    Raises:
        CheckpointError: It could not be written, as on a full disk.
    """
    try:
        with written_atomically(path) as partial:
            safetensors.torch.save_file(tensors, partial, metadata={"format": "pt"})
            # The library makes a file that nobody else may read.
            partial.chmod(path.parent.stat().st_mode & 0o666)
    except SafetensorError as error:
        raise CheckpointError(f"could not write {path}: {error}") from None


def write_index(path: Path) -> None:
    """Write an index beside a safetensors file that lists its tensors.

    It is for directories that hold other safetensors, too: vLLM and SGLang read all of them, or,
    where there is an index, those that it lists.
    """
    with safetensors.safe_open(path, "pt") as file:
        names = list(file.keys())
    entries = {"total_size": path.stat().st_size}
    index = {"metadata": entries, "weight_map": dict.fromkeys(names, path.name)}
    write_json(path.with_name(path.name + INDEX), index)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises:
        CheckpointError: It is missing, or holds something else.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} not found; a model directory holds config.json and {WEIGHTS_FILE}"
        ) from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(entries, dict):
        raise CheckpointError(f"{path} must be an object of settings, got {entries!r:.40}")
    return entries


def write_json(path: Path, entries: dict[str, Any]) -> None:
    """Write an object as a JSON file, atomically."""
    write_whole(path, json.dumps(entries, indent=2).encode() + b"\n")


def _read_safetensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    try:
        with safetensors.safe_open(path, "pt") as file:
            names = list(file.keys())
        for name in names:
            # Opened anew for each: pages that were read count as memory until the map is closed.
            with safetensors.safe_open(path, "pt") as file:
                yield name, file.get_tensor(name)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file: {error}") from None


def _read_pickle(path: Path) -> Iterator[tuple[str, Tensor]]:
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, PermissionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} is damaged, or holds more than tensors, which is not read, since a pickle can "
            f"run any code; wanted a state dict, better still as {WEIGHTS_FILE}"
        ) from None
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle fails in any way there is
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{path} is damaged or no file of torch's: {reason}") from None
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and _is_plain(tensor) for name, tensor in tensors.items()
    ):
        raise CheckpointError(f"{path} must be a state dict, dense tensors by their names")
    while tensors:  # each is let go as soon as it has been copied
        name = next(iter(tensors))
        yield name, tensors.pop(name)


def _is_plain(value: Any) -> bool:
    """Return whether a value is a tensor with all its entries in memory."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not value.is_nested
        and not value.is_meta
    )


def _is_file_name(name: Any) -> bool:
    if not isinstance(name, str) or name.encode(errors="replace").decode() != name:
        return False
    return name not in ("", "..") and "\0" not in name and PurePosixPath(name).name == name
