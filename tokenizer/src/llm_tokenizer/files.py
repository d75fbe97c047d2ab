"""Files of a vocabulary: vocab.json + merges.txt, or tokenizer.json, or .tiktoken.

vocab.json and merges.txt are OpenAI's own for GPT-2, tokenizer.json holds the same in one file for
Hugging Face's tokenizers, and .tiktoken is what tiktoken reads.
"""

import base64
import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from itertools import count, pairwise
from pathlib import Path
from typing import Any

from llm_tokenizer.errors import TokenizerError
from llm_tokenizer.text_files import read_text, write_whole
from llm_tokenizer.vocabulary import END_OF_TEXT, Vocabulary, parse_bytes, show_bytes

VOCAB_FILE, MERGES_FILE, TOKENIZER_FILE = "vocab.json", "merges.txt", "tokenizer.json"
ADDED_FILE = "added_tokens.json"  # where older versions of transformers put special tokens
TOKENIZER_FILES = (
    VOCAB_FILE,
    MERGES_FILE,
    ADDED_FILE,
    TOKENIZER_FILE,
)  # all that a folder may have
TIKTOKEN_SUFFIX = ".tiktoken"
GPT2_SETTINGS = {
    "model": "BPE",
    "pre_tokenizer": "ByteLevel",
    "use_regex": True,
    "add_prefix_space": False,
    "normalizer": None,
    "ignore_merges": False,
    "dropout": None,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
}
ADDED_TOKEN_SETTINGS = ("single_word", "lstrip", "rstrip")  # none of which a special token has here
MERGES_HEADER = "#version: 0.2"
_BYTES = [bytes([byte]) for byte in range(256)]


@cache
def read_gpt2() -> Vocabulary:
    """Return the released vocabulary: OpenAI's merge list is bundled, the ids follow from it."""
    merges = resources.files("llm_tokenizer").joinpath("assets/gpt2_merges.txt")
    return Vocabulary.from_merges(_parse_merges(merges.read_text("utf-8")), [END_OF_TEXT])


def read(path: Path) -> Vocabulary:
    """Read a vocabulary.

    Args:
        path: A folder with vocab.json, merges.txt and, as older ones have it, added_tokens.json, or
            else with tokenizer.json; or a file like tokenizer.json, whose name ends in .json; or
            tiktoken's, whose name ends in .tiktoken.
    Raises:
        TokenizerError: A file is missing or is not what its name says; it tells which and where.
    """
    try:
        if path.suffix == TIKTOKEN_SUFFIX:
            return _read_tiktoken(path)
        if path.suffix == ".json":
            return _read_tokenizer_json(path)
        if (path / TOKENIZER_FILE).exists() and not (path / VOCAB_FILE).exists():
            return _read_tokenizer_json(path / TOKENIZER_FILE)
        entries = _read_vocab(path / VOCAB_FILE)
        if (path / ADDED_FILE).exists():
            entries |= _read_vocab(path / ADDED_FILE)
        return _of_entries(entries, _read_merges(path / MERGES_FILE))
    except TokenizerError as error:
        prefix = "" if str(path) in str(error) else f"{path}: "
        raise TokenizerError(f"{prefix}{error}") from None
    except (OSError, ValueError) as error:  # such as a path too long, or with a NUL
        raise TokenizerError(f"cannot read {str(path)!r}: {error}") from None


def write(vocabulary: Vocabulary, path: Path) -> None:
    """Write a vocabulary, each file whole or not at all.

    Args:
        vocabulary: What to write.
        path: A file that ends in .json or .tiktoken, for one of that kind; else a folder, for
            vocab.json and merges.txt, and tokenizer.json if there are special tokens besides
            <|endoftext|>.
    Raises:
        TokenizerError: A .tiktoken file cannot hold this vocabulary; it tells why.
    """
    if path.suffix == TIKTOKEN_SUFFIX:
        content = _tiktoken_of(vocabulary)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    elif path.suffix == ".json":
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, _json(_tokenizer_json_of(vocabulary)))
    else:
        path.mkdir(parents=True, exist_ok=True)
        write_whole(path / VOCAB_FILE, _json(_entries_of(vocabulary)))
        lines = [" ".join(map(show_bytes, pair)) for pair in vocabulary.merges]
        write_whole(path / MERGES_FILE, "\n".join([MERGES_HEADER, *lines, ""]).encode())
        (path / ADDED_FILE).unlink(missing_ok=True)  # of another vocabulary, as tokenizer.json is
        (path / TOKENIZER_FILE).unlink(missing_ok=True)
        if vocabulary.special_tokens.keys() - {END_OF_TEXT}:  # vocab.json cannot say which they are
            write_whole(path / TOKENIZER_FILE, _json(_tokenizer_json_of(vocabulary)))


def _read_tokenizer_json(path: Path) -> Vocabulary:
    """Read Hugging Face's file. Source: the format as tokenizers 0.23 writes it."""
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
            "ignore_merges": model.get("ignore_merges", False),
            "dropout": model.get("dropout") or None,
            "continuing_subword_prefix": model.get("continuing_subword_prefix") or None,
            "end_of_word_suffix": model.get("end_of_word_suffix") or None,
        }
        for name, wanted in GPT2_SETTINGS.items():
            if settings[name] != wanted:
                raise TokenizerError(
                    f"{path} must be a byte-level BPE as GPT-2's is: its {name} must be "
                    f"{wanted!r}, got {settings[name]!r}"
                )
        for token in added:
            if chosen := [name for name in ADDED_TOKEN_SETTINGS if token.get(name)]:
                raise TokenizerError(
                    f"{path} must have {chosen[0]} false for the added token {token['content']!r}"
                )
        entries = model["vocab"] | {token["content"]: token["id"] for token in added}
        pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
        made = {left + right for left, right in pairs} | set(map(show_bytes, _BYTES))
        if twice := [token["content"] for token in added if token["content"] in made]:
            raise TokenizerError(
                f"{path} must not add a token that the merges make, too, got {twice[0]!r}"
            )
        return _of_entries(
            entries, [(parse_bytes(left), parse_bytes(right)) for left, right in pairs]
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, TokenizerError):
            raise
        raise TokenizerError(f"{path} is not a tokenizer.json: {error!r}") from None


def _tokenizer_json_of(vocabulary: Vocabulary) -> dict[str, Any]:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": i,
                "content": text,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for text, i in vocabulary.special_tokens.items()
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level | {"use_regex": True},
        "post_processor": None,
        "decoder": byte_level | {"use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": _entries_of(vocabulary),
            "merges": [list(map(show_bytes, pair)) for pair in vocabulary.merges],
        },
    }


def _read_tiktoken(path: Path) -> Vocabulary:
    """Read a line for each token: its bytes in base64, a blank, its id, which is its rank, too.

    The file has no special tokens; <|endoftext|> gets the first id that is free, as in OpenAI's
    r50k_base and p50k_base. Source: tiktoken, load.py.
    """
    token_ids = {}
    for number, line in enumerate(read_text(path).replace("\r\n", "\n").split("\n"), start=1):
        if not line:
            continue
        try:
            token, i = line.split(" ")
            token_ids[base64.b64decode(token, validate=True)] = int(i.encode("ascii"))
        except ValueError:
            raise TokenizerError(
                f"{path}, line {number}: wanted base64, a blank and an id, got {line!r}"
            ) from None
    specials = {END_OF_TEXT: _first_free(token_ids)}
    return Vocabulary(token_ids, _merges_of_ranks(token_ids), specials)


def _tiktoken_of(vocabulary: Vocabulary) -> bytes:
    token_ids, specials = vocabulary.token_ids, vocabulary.special_tokens
    ranks = [token_ids[left + right] for left, right in vocabulary.merges]
    if sorted(set(ranks)) != ranks or _merges_of_ranks(token_ids) != list(vocabulary.merges):
        raise TokenizerError(
            "a .tiktoken file merges tokens in the order of their ids, which does not give this "
            "vocabulary's merges; save it as a folder or as .json"
        )
    if specials and specials != {END_OF_TEXT: _first_free(token_ids)}:
        raise TokenizerError(
            f"a .tiktoken file has no special tokens, this vocabulary has {sorted(specials)}; "
            "save it as a folder or as .json"
        )
    by_id = sorted(token_ids.items(), key=lambda entry: entry[1])
    return b"".join(base64.b64encode(token) + b" %d\n" % i for token, i in by_id)


def _first_free(token_ids: Mapping[bytes, int]) -> int:
    taken = set(token_ids.values())
    return next(i for i in count() if i not in taken)


def _merges_of_ranks(token_ids: Mapping[bytes, int]) -> list[tuple[bytes, bytes]]:
    """Return the merge that makes each token: the last one when its bytes merge by rank."""
    merges = []
    for token, rank in sorted(token_ids.items(), key=lambda entry: entry[1]):
        parts = [bytes([byte]) for byte in token]
        while len(parts) > 2:
            joined = [token_ids.get(left + right, rank) for left, right in pairwise(parts)]
            first = min(joined)
            if first >= rank:
                break
            k = joined.index(first)
            parts[k : k + 2] = [parts[k] + parts[k + 1]]
        if len(parts) > 2:
            raise TokenizerError(f"no two tokens of lower id make token {rank}, {token!r}")
        if len(parts) == 2:
            merges.append((parts[0], parts[1]))
    return merges


def _of_entries(entries: dict[str, int], merges: list[tuple[bytes, bytes]]) -> Vocabulary:
    """Return a vocabulary; an entry that is neither a byte nor what a merge makes is special."""
    ordinary = set(map(show_bytes, _BYTES))
    ordinary |= {show_bytes(left + right) for left, right in merges}
    special = [text for text in entries if text not in ordinary]
    for text in special:
        if any(text[:k] in ordinary and text[k:] in ordinary for k in range(1, len(text))):
            raise TokenizerError(f"{MERGES_FILE} lacks the merge that makes the token {text!r}")
    return Vocabulary(
        {parse_bytes(shown): i for shown, i in entries.items() if shown in ordinary},
        merges,
        {text: entries[text] for text in special},
    )


def _entries_of(vocabulary: Vocabulary) -> dict[str, int]:
    entries = {show_bytes(token): i for token, i in vocabulary.token_ids.items()}
    entries |= vocabulary.special_tokens
    return dict(sorted(entries.items(), key=lambda entry: entry[1]))


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()


def _read_json(path: Path) -> Any:
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:  # a number can be too long, too
        if isinstance(error, TokenizerError):
            raise
        raise TokenizerError(f"{path} is not valid JSON: {error}") from None


def _read_vocab(path: Path) -> dict[str, int]:
    entries = _read_json(path)
    if not isinstance(entries, dict):
        raise TokenizerError(f"{path} must map each token to its id, a whole number")
    return entries


def _read_merges(path: Path) -> list[tuple[bytes, bytes]]:
    return _parse_merges(read_text(path))


def _parse_merges(text: str) -> list[tuple[bytes, bytes]]:
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n") if text else []
    first = 1 if lines and lines[0].startswith("#version") else 0
    merges = []
    parsed: dict[str, bytes] = {}  # most tokens are what an earlier merge made
    for number, line in enumerate(lines[first:], start=first + 1):
        parts = line.split(" ")
        if len(parts) != 2:
            raise TokenizerError(
                f"{MERGES_FILE}, line {number}: wanted two tokens and a space between, got {line!r}"
            )
        left = parsed.get(parts[0]) or parse_bytes(parts[0])
        right = parsed.get(parts[1]) or parse_bytes(parts[1])
        parsed[parts[0] + parts[1]] = left + right
        merges.append((left, right))
    return merges
