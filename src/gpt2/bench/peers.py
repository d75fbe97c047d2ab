"""The other engines: which are installed, and the measured model in the files that each reads."""

import ctypes
import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpt2.errors import ConfigError
from gpt2.files.gguf import write_gguf
from gpt2.files.pretrained import GPT2
from gpt2.progress import log

if TYPE_CHECKING:
    import gguf
    from numpy.typing import NDArray

HUGGING_FACE, GGUF = "hugging-face", "f32.gguf"  # in the folder of all files


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Another engine."""

    packages: tuple[str, ...]  # that it needs, by the name that both pip and Python know
    beside: dict[str, str]  # its dtypes, and that of ours which each is compared with
    write: Callable[[Path, str], Path]  # folder of all files, its dtype -> what it opens


def is_installed(name: str, packages: Iterable[str]) -> bool:
    """Return whether all packages of a peer are installed; if not, log how to install them."""
    if missing := [each for each in packages if importlib.util.find_spec(each) is None]:
        log(f"{name} is left out, since it is not installed: pip install {' '.join(missing)}")
    return not missing


def write_model(model: GPT2, folder: Path, peers: list[str]) -> None:
    """Write a model in float32 where all engines find it.

    Raises:
        Gpt2Error: llama.cpp has no such model, or a file cannot be written.
    """
    model.save_pretrained(folder / HUGGING_FACE)
    if "llama.cpp" in peers:
        write_gguf(model, folder / GGUF)


def _hugging_face(folder: Path, dtype: str) -> Path:
    return folder / HUGGING_FACE


def _ctranslate2(folder: Path, dtype: str) -> Path:
    target = folder / f"ctranslate2-{dtype}"
    if not target.exists():
        converter = [sys.executable, "-m", "ctranslate2.converters.transformers"]
        flags = ["--model", folder / HUGGING_FACE, "--output_dir", target, "--quantization", dtype]
        run_process([*converter, *map(str, flags)])
    return target


def _gguf(folder: Path, dtype: str) -> Path:
    target = folder / f"{dtype}.gguf"
    if not target.exists():
        quantize_gguf(folder / GGUF, target, dtype)
    return target


PEERS = {
    "transformers": Peer(
        packages=("transformers",),
        beside={"float32": "float32", "bfloat16": "bfloat16"},
        write=_hugging_face,
    ),
    "ctranslate2": Peer(
        packages=("ctranslate2", "transformers"),
        beside={"float32": "float32", "int8": "int8"},
        write=_ctranslate2,
    ),
    "llama.cpp": Peer(
        packages=("xllamacpp", "gguf"),
        beside={"f32": "float32", "bf16": "bfloat16", "q8_0": "int8", "q4_0": "int4"},
        write=_gguf,
    ),
}


def run_process(command: list[str]) -> str:
    """Run a program; return the last line that it printed.

    Raises:
        ConfigError: It failed; the message is the last line of its stderr.
    """
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ConfigError(lines[-1])
    return done.stdout.strip().rpartition("\n")[2]


def quantize_gguf(source: Path, target: Path, dtype: str) -> None:
    """Quantize a file of float32 as llama.cpp's own llama-quantize does, by its functions.

    As there, q4_0 keeps embeddings that serve as the head, too, in q6_k; position embeddings and
    vectors stay in float32, and so do rows that are no whole number of blocks.

    Args:
        source: GGUF file.
        target: GGUF file to write.
        dtype: bf16, q8_0 or q4_0.
    """
    import gguf

    reader = gguf.GGUFReader(source)
    names = {tensor.name for tensor in reader.tensors}
    head = "output.weight" if "output.weight" in names else "token_embd.weight"
    writer = gguf.GGUFWriter(target, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.GPT2])
    _copy_settings(reader, writer)
    for tensor in reader.tensors:
        kind = gguf.GGMLQuantizationType[dtype.upper()]
        if tensor.name == head and dtype == "q4_0":
            kind = gguf.GGMLQuantizationType.Q6_K
        kind = _fitting(kind, tensor)
        writer.add_tensor(tensor.name, quantized(tensor.data, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _copy_settings(reader: "gguf.GGUFReader", writer: "gguf.GGUFWriter") -> None:
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue  # the writer's own
        kinds = [*field.types, None]
        writer.add_key_value(name, field.contents(), field.types[0], sub_type=kinds[1])


def _fitting(
    kind: "gguf.GGMLQuantizationType", tensor: "gguf.ReaderTensor"
) -> "gguf.GGMLQuantizationType":
    import gguf

    kinds = gguf.GGMLQuantizationType
    if tensor.data.ndim == 1 or tensor.name == "position_embd.weight":
        return kinds.F32
    fits = [
        each
        for each in (kind, kinds.Q8_0)
        if tensor.data.shape[-1] % gguf.GGML_QUANT_SIZES[each][0] == 0
    ]
    return fits[0] if fits else kinds.F32


def quantized(
    weight: "NDArray[np.float32]", kind: "gguf.GGMLQuantizationType"
) -> "NDArray[np.uint8] | NDArray[np.float32]":  # (R, K) -> (R, bytes of a row)
    """Quantize a matrix by ggml's own function."""
    import gguf

    if kind == gguf.GGMLQuantizationType.F32:
        return np.array(weight)
    rows, columns = weight.shape
    block, size = gguf.GGML_QUANT_SIZES[kind]
    content = np.empty((rows, columns // block * size), np.uint8)
    source = np.ascontiguousarray(weight, np.float32)
    written = _ggml_quantize()(
        kind, source.ctypes.data, content.ctypes.data, 0, rows, columns, None
    )
    assert written == content.nbytes
    return content


def _ggml_quantize() -> Any:
    """Return ggml_quantize_chunk(type, source, target, start, rows, columns, importance)."""
    spec = importlib.util.find_spec("xllamacpp")
    assert spec and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0])
    library = next(p for p in folder.iterdir() if p.suffix in (".so", ".pyd"))
    function = ctypes.CDLL(str(library)).ggml_quantize_chunk
    function.restype = ctypes.c_size_t
    function.argtypes = [
        ctypes.c_int,
        *[ctypes.c_void_p] * 2,
        *[ctypes.c_int64] * 3,
        ctypes.c_void_p,
    ]
    return function
