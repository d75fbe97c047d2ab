"""Files of a vocabulary: vocab.json + merges.txt, or tokenizer.json, or .tiktoken.

vocab.json and merges.txt are OpenAI's own for GPT-2, tokenizer.json holds the same in one file for
Hugging Face's tokenizers, and .tiktoken is what tiktoken reads.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import resources
from itertools import count, pairwise
from pathlib import Path
from typing import Any, TypeVar

from llm_tokenizer.atomic import write_whole
from llm_tokenizer.errors import TokenizerError, shown
from llm_tokenizer.known_rules import owner_of_pattern, vocabulary_of_size
from llm_tokenizer.text_files import read_text
from llm_tokenizer.vocabulary import END_OF_TEXT, Vocabulary, parse_bytes, show_bytes

VOCAB_FILE, MERGES_FILE, TOKENIZER_FILE = "vocab.json", "merges.txt", "tokenizer.json"
ADDED_FILE = "added_tokens.json"  # where older versions of transformers put special tokens
# All that a folder may have.
TOKENIZER_FILES = (VOCAB_FILE, MERGES_FILE, ADDED_FILE, TOKENIZER_FILE)
JSON_SUFFIX, TIKTOKEN_SUFFIX = ".json", ".tiktoken"
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
Token = TypeVar("Token", bytes, str)
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
            tiktoken's, whose name ends in .tiktoken. A folder may have any name.
    Raises:
        TokenizerError: A file is missing, is not what its name says, or is of another split rule
            than GPT-2's; the message tells which and where.
    """
    try:
        suffix = file_suffix(path)
        if suffix == TIKTOKEN_SUFFIX:
            return _read_tiktoken(path)
        if suffix == JSON_SUFFIX:
            return _read_tokenizer_json(path)
        if path.is_file():
            raise TokenizerError(f"{path} must be a folder, or end in .json or .tiktoken")
        return _read_folder(path)
    except TokenizerError as error:
        prefix = "" if str(path) in str(error) else f"{path}: "
        raise TokenizerError(f"{prefix}{error}") from None
    except (OSError, ValueError) as error:  # such as a path too long, or with a NUL
        raise TokenizerError(f"cannot read {str(path)!r}: {error}") from None


def write(vocabulary: Vocabulary, path: Path) -> None:
    """Write a vocabulary, each file whole or not at all.

    Args:
        vocabulary: What to write.
        path: A folder that exists; or a file that ends in .json or .tiktoken, for one of that
            kind; or else a folder to make. A folder gets vocab.json and merges.txt, and
            tokenizer.json where these two leave open which tokens are special or which split rule
            is meant.
    Raises:
        TokenizerError: A .tiktoken file cannot hold this vocabulary; the message tells why.
    """
    suffix = file_suffix(path)
    if suffix:
        whole = _tiktoken_of if suffix == TIKTOKEN_SUFFIX else _tokenizer_json_of
        content = whole(vocabulary)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
        return
    path.mkdir(parents=True, exist_ok=True)
    write_whole(path / VOCAB_FILE, _json(_entries_of(vocabulary)))
    lines = [" ".join(map(show_bytes, pair)) for pair in vocabulary.merges]
    write_whole(path / MERGES_FILE, "\n".join([MERGES_HEADER, *lines, ""]).encode())
    (path / ADDED_FILE).unlink(missing_ok=True)  # of another vocabulary, as tokenizer.json is
    (path / TOKENIZER_FILE).unlink(missing_ok=True)
    if vocabulary.special_tokens.keys() - {END_OF_TEXT} or vocabulary.foreign_token:
        write_whole(path / TOKENIZER_FILE, _tokenizer_json_of(vocabulary))


def file_suffix(path: Path) -> str:
    """Return .json or .tiktoken for a file of that kind, and nothing for a folder."""
    suffix = path.suffix.lower()
    return suffix if suffix in (JSON_SUFFIX, TIKTOKEN_SUFFIX) and not path.is_dir() else ""


def _read_folder(path: Path) -> Vocabulary:
    settled = (path / TOKENIZER_FILE).exists()  # the split rule, by a file that names it
    if settled and not (path / VOCAB_FILE).exists():
        return _read_tokenizer_json(path / TOKENIZER_FILE)
    if settled:
        with _expecting_tokenizer_json(path / TOKENIZER_FILE):
            _check_settings(_read_json(path / TOKENIZER_FILE), path / TOKENIZER_FILE)
    entries = _read_vocab(path / VOCAB_FILE)
    if (path / ADDED_FILE).exists():
        for text, i in _read_vocab(path / ADDED_FILE).items():
            _add_id(entries, text, i)
    vocabulary = _of_entries(entries, _read_merges(path / MERGES_FILE))
    if not settled:
        _check_split_rule(vocabulary, path)
    return vocabulary


def _check_split_rule(vocabulary: Vocabulary, path: Path) -> None:
    """Refuse a vocabulary in a file that does not name its split rule, where it is another one."""
    if token := vocabulary.foreign_token:
        number = len(vocabulary.token_ids)
        known = vocabulary_of_size(number)
        raise TokenizerError(
            f"{path} must be of GPT-2's split rule, which never joins {shown(token)} in one token; "
            + (f"its {number} tokens are as many as those of {known}; " if known else "")
            + "use the tokenizer that this vocabulary was made for"
        )


@contextmanager
def _expecting_tokenizer_json(path: Path) -> Iterator[None]:
    """Name the file in an error that comes of a content of another form."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, TokenizerError):
            raise
        raise TokenizerError(f"{path} is not a tokenizer.json: {shown(error)}") from None


def _check_settings(content: dict[str, Any], path: Path) -> None:
    """Refuse a tokenizer.json whose split rule or merging is not GPT-2's."""
    model, steps = content["model"], _steps_of(content["pre_tokenizer"] or {})
    split = steps[0] if len(steps) == 1 else {}
    settings = {
        "model": model.get("type", "BPE"),
        "pre_tokenizer": " + ".join(step["type"] for step in steps) or None,
        "use_regex": split.get("use_regex", True),
        "add_prefix_space": split.get("add_prefix_space", False),
        "normalizer": content.get("normalizer"),
        "ignore_merges": model.get("ignore_merges", False),
        "dropout": model.get("dropout") or None,
        "continuing_subword_prefix": model.get("continuing_subword_prefix") or None,
        "end_of_word_suffix": model.get("end_of_word_suffix") or None,
    }
    _check_patterns(steps, path)
    for name, wanted in GPT2_SETTINGS.items():
        if settings[name] != wanted:
            raise TokenizerError(
                f"{path} must be a byte-level BPE as GPT-2's is: its {name} must be "
                f"{wanted!r}, got {shown(settings[name])}"
            )
    for token in content.get("added_tokens", []):
        if chosen := [name for name in ADDED_TOKEN_SETTINGS if token.get(name)]:
            raise TokenizerError(
                f"{path} must have {chosen[0]} false for the added token {shown(token['content'])}"
            )


def _check_patterns(steps: list[dict[str, Any]], path: Path) -> None:
    """Refuse a split rule that is spelled out, by the name of those who use it if that is known."""
    patterns = [step["pattern"].get("Regex") for step in steps if "pattern" in step]
    if spelled := [pattern for pattern in patterns if pattern]:
        owner = next(filter(None, map(owner_of_pattern, spelled)), shown(spelled[0]))
        raise TokenizerError(
            f"{path} must be a byte-level BPE as GPT-2's is: its split rule must be GPT-2's, "
            f"'ByteLevel', got {owner}; use the tokenizer that this vocabulary was made for"
        )


def _steps_of(split: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of a pre-tokenizer, which may be a sequence of others."""
    return split.get("pretokenizers", [split] if split else [])


def _read_tokenizer_json(path: Path) -> Vocabulary:
    """Read Hugging Face's file. Source: the format as tokenizers 0.23 writes it."""
    content = _read_json(path)
    with _expecting_tokenizer_json(path):
        _check_settings(content, path)
        model, added = content["model"], content.get("added_tokens", [])
        entries = dict(model["vocab"])
        pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
        made = {left + right for left, right in pairs} | set(map(show_bytes, _BYTES))
        if twice := [token["content"] for token in added if token["content"] in made]:
            raise TokenizerError(
                f"{path} must not add a token that the merges make, too, got {shown(twice[0])}"
            )
        for token in added:
            _add_id(entries, token["content"], token["id"])
        return _of_entries(
            entries, [(parse_bytes(left), parse_bytes(right)) for left, right in pairs]
        )


def _tokenizer_json_of(vocabulary: Vocabulary) -> bytes:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    content = {
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
    return _json(content)


def _read_tiktoken(path: Path) -> Vocabulary:
    """Read a line for each token: its bytes in base64, a blank, its id, which is its rank, too.

    The file has no special tokens; <|endoftext|> gets the first id that is free, as in OpenAI's
    r50k_base and p50k_base. Source: tiktoken, load.py.
    """
    token_ids: dict[bytes, int] = {}
    for number, line in enumerate(read_text(path).replace("\r\n", "\n").split("\n"), start=1):
        if not line:
            continue
        try:
            base64_of_token, digits = line.split(" ")
            token, i = base64.b64decode(base64_of_token, validate=True), int(digits.encode("ascii"))
        except ValueError:
            raise TokenizerError(
                f"{path}, line {number}: wanted base64, a blank and an id, got {shown(line)}"
            ) from None
        _add_id(token_ids, token, i)
    _check_split_rule(Vocabulary(token_ids, (), {}), path)  # another rule may give no merges at all
    specials = {END_OF_TEXT: _first_free(token_ids)}
    return Vocabulary(token_ids, _merges_of_ranks(token_ids), specials)


def _tiktoken_of(vocabulary: Vocabulary) -> bytes:
    token_ids, specials = vocabulary.token_ids, vocabulary.special_tokens
    if token := vocabulary.foreign_token:
        raise TokenizerError(
            f"a .tiktoken file does not name its split rule, and {shown(token)} is no token of "
            "GPT-2's split rule; save it as a folder or as .json"
        )
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
            raise TokenizerError(f"no two tokens of lower id make token {rank}, {shown(token)}")
        if len(parts) == 2:
            merges.append((parts[0], parts[1]))
    return merges


def _add_id(entries: dict[Token, int], token: Token, i: int) -> None:
    """Enter a token, and refuse two ids for one: programs differ in which of them they take."""
    if (first := entries.setdefault(token, i)) != i:
        raise TokenizerError(
            f"a token must have one id, {shown(token)} has {shown(first)} and {shown(i)}"
        )


def _of_entries(entries: dict[str, int], merges: list[tuple[bytes, bytes]]) -> Vocabulary:
    """Return a vocabulary; an entry that is neither a byte nor what a merge makes is special."""
    ordinary = set(map(show_bytes, _BYTES))
    ordinary |= {show_bytes(left + right) for left, right in merges}
    special = [text for text in entries if text not in ordinary]
    for text in special:
        if any(text[:k] in ordinary and text[k:] in ordinary for k in range(1, len(text))):
            raise TokenizerError(
                f"{MERGES_FILE} lacks the merge that makes the token {shown(text)}"
            )
    return Vocabulary(
        {parse_bytes(text): i for text, i in entries.items() if text in ordinary},
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
                f"{MERGES_FILE}, line {number}: wanted two tokens and a space between, got "
                f"{shown(line)}"
            )
        left = parsed.get(parts[0]) or parse_bytes(parts[0])
        right = parsed.get(parts[1]) or parse_bytes(parts[1])
        parsed[parts[0] + parts[1]] = left + right
        merges.append((left, right))
    return merges
