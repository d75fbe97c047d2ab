"""The files of a vocabulary: vocab.json + merges.txt, as a Hugging Face GPT-2 has them.

Newer directories hold the same in one tokenizer.json, which is read, too.
"""

import json
import os
from importlib import resources
from pathlib import Path
from typing import Any

from llm_tokenizer.errors import TokenizerError
from llm_tokenizer.vocabulary import END_OF_TEXT, Vocabulary, parse_bytes, show_bytes

VOCAB_FILE, MERGES_FILE, TOKENIZER_FILE = "vocab.json", "merges.txt", "tokenizer.json"
GPT2_SETTINGS = {
    "model": "BPE",
    "pre_tokenizer": "ByteLevel",
    "use_regex": True,
    "add_prefix_space": False,
    "normalizer": None,
}
MERGES_HEADER = "#version: 0.2"


def read_gpt2() -> Vocabulary:
    """Return the released vocabulary: OpenAI's merge list is bundled, the ids follow from it."""
    merges = resources.files("llm_tokenizer").joinpath("assets/gpt2_merges.txt")
    return Vocabulary.from_merges(_parse_merges(merges.read_text("utf-8")), [END_OF_TEXT])


def read(directory: Path) -> Vocabulary:
    """Read vocab.json and merges.txt from a folder, or tokenizer.json in place of the two.

    An entry of the vocabulary that is neither a byte nor the outcome of a merge is a special token.

    Raises:
        TokenizerError: A file is missing or is not what its name says; it tells which and where.
    """
    if (directory / TOKENIZER_FILE).exists() and not (directory / VOCAB_FILE).exists():
        entries, merges_text = _read_tokenizer_json(directory / TOKENIZER_FILE)
    else:
        entries = _read_vocab(directory / VOCAB_FILE)
        merges_text = read_text(directory / MERGES_FILE)
    try:
        merges = _parse_merges(merges_text)
        ordinary = {show_bytes(bytes([byte])) for byte in range(256)}
        ordinary |= {show_bytes(left + right) for left, right in merges}
        return Vocabulary(
            {parse_bytes(shown): i for shown, i in entries.items() if shown in ordinary},
            merges,
            {text: i for text, i in entries.items() if text not in ordinary},
        )
    except TokenizerError as error:
        raise TokenizerError(f"{directory}: {error}") from None


def write(vocabulary: Vocabulary, directory: Path) -> None:
    """Write vocab.json and merges.txt into `directory`, each whole or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    entries = {show_bytes(token): i for token, i in vocabulary.token_ids.items()}
    entries |= vocabulary.special_tokens
    by_id = dict(sorted(entries.items(), key=lambda entry: entry[1]))
    write_whole(directory / VOCAB_FILE, json.dumps(by_id, ensure_ascii=False).encode())
    lines = [f"{show_bytes(left)} {show_bytes(right)}" for left, right in vocabulary.merges]
    write_whole(directory / MERGES_FILE, "\n".join([MERGES_HEADER, *lines, ""]).encode())


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, its line ends as they are.

    Raises:
        TokenizerError: The file cannot be read or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise TokenizerError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{path} must be UTF-8 text: byte {error.start} is not") from None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: under another name, synced to disk, then renamed."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None


def _read_tokenizer_json(path: Path) -> tuple[dict[str, int], str]:
    """Return what vocab.json and merges.txt would hold."""
    content = _read_json(path)
    try:
        model, added = content["model"], content.get("added_tokens", [])
        split = content["pre_tokenizer"] or {}
        settings = {
            "model": model.get("type", "BPE"),
            "pre_tokenizer": split.get("type"),
            "use_regex": split.get("use_regex", True),
            "add_prefix_space": split.get("add_prefix_space", False),
            "normalizer": content.get("normalizer"),
        }
        if settings != GPT2_SETTINGS:
            raise TokenizerError(f"{path} must be GPT-2's kind, {GPT2_SETTINGS}, got {settings}")
        entries = model["vocab"] | {token["content"]: token["id"] for token in added}
        merges = (pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"])
        return entries, "\n".join(merges)
    except (KeyError, TypeError, AttributeError) as error:
        raise TokenizerError(f"{path} is not a tokenizer.json: {error!r}") from None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise TokenizerError(f"{path} is not valid JSON: {error}") from None


def _read_vocab(path: Path) -> dict[str, int]:
    entries = _read_json(path)
    if not isinstance(entries, dict):
        raise TokenizerError(f"{path} must map each token to its id, a whole number")
    return entries


def _parse_merges(text: str) -> list[tuple[bytes, bytes]]:
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n") if text else []
    first = 1 if lines and lines[0].startswith("#version") else 0
    merges = []
    for number, line in enumerate(lines[first:], start=first + 1):
        parts = line.split(" ")
        if len(parts) != 2:
            raise TokenizerError(
                f"{MERGES_FILE}, line {number}: wanted two tokens and a space between, got {line!r}"
            )
        merges.append((parse_bytes(parts[0]), parse_bytes(parts[1])))
    return merges
