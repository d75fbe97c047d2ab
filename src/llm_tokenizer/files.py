"""Read and write a vocabulary as vocab.json + merges.txt, the files of a Hugging Face GPT-2."""

import json
import os
from importlib import resources
from pathlib import Path

from llm_tokenizer.errors import TokenizerError
from llm_tokenizer.vocabulary import END_OF_TEXT, Vocabulary, parse_bytes, show_bytes

VOCAB_FILE, MERGES_FILE = "vocab.json", "merges.txt"
MERGES_HEADER = "#version: 0.2"


def read_gpt2() -> Vocabulary:
    """Return the released vocabulary: OpenAI's merge list is bundled, the ids follow from it."""
    merges = resources.files("llm_tokenizer").joinpath("assets/gpt2_merges.txt")
    return Vocabulary.from_merges(_parse_merges(merges.read_text("utf-8")), [END_OF_TEXT])


def read(directory: Path) -> Vocabulary:
    """Read vocab.json and merges.txt from `directory`.

    An entry of vocab.json that is neither a byte nor the outcome of a merge is a special token.

    Raises:
        TokenizerError: A file is missing or is not what its name says; it tells which and where.
    """
    entries = _read_vocab(directory / VOCAB_FILE)
    merges_text = _read_text(directory / MERGES_FILE)
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
    _write_text(directory / VOCAB_FILE, json.dumps(by_id, ensure_ascii=False))
    lines = [f"{show_bytes(left)} {show_bytes(right)}" for left, right in vocabulary.merges]
    _write_text(directory / MERGES_FILE, "\n".join([MERGES_HEADER, *lines, ""]))


def _read_vocab(path: Path) -> dict[str, int]:
    try:
        entries = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise TokenizerError(f"{path} is no JSON: {error}") from None
    if not isinstance(entries, dict) or not all(type(i) is int for i in entries.values()):
        raise TokenizerError(f"{path} must map each token to its id, a whole number")
    if len(set(entries.values())) != len(entries):
        raise TokenizerError(f"{path} gives one id to two tokens")
    return entries


def _parse_merges(text: str) -> list[tuple[bytes, bytes]]:
    lines = text.rstrip("\n").split("\n")
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


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise TokenizerError(
            f"{path} not found; a vocabulary is a folder with {VOCAB_FILE} and {MERGES_FILE}"
        ) from None
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{path} is not UTF-8 text: {error.reason} at {error.start}") from None


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
