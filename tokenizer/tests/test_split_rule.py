"""Vocabularies of another split rule than GPT-2's are refused, as their ids would be wrong."""

import base64
import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_tokenizer import Tokenizer, TokenizerError, files
from llm_tokenizer.splitter import fits_in_a_piece, split
from llm_tokenizer.vocabulary import BYTE_ORDER, Vocabulary

# What cl100k_base, o200k_base and their kin join: a letter and the mark before it, a mark and the
# line's end after it, a contraction in capitals, a word and its contraction.
FOREIGN = [
    b".c",
    b"(s",
    b"\tif",
    b"_a",
    b");\n",
    b"'S",
    b"'LL",
    b"n't",
    b"a1",
    b"1.",
    b" .a",
    b"\n a",
]
FOREIGN += [" a é".encode(), "日本。".encode(), b"  a", b"a ", b"1 ", b"! ", b"''s"]
# What a piece of GPT-2's rule can hold, p50k_base's runs of spaces included.
NATIVE = [
    b" the",
    b" 2024",
    b"1234",
    b" ...",
    b"\n\n\n    ",
    b"\r\n",
    b"  ",
    b"'ll",
    b"'l",
    b"'s",
    b"''",
]
NATIVE += [
    " é日".encode(),
    b"\xa9t",
    b" \xe6\x97",
    b"\x97\xa5",
    b" '",
    b"\xff\xfe",
    b"a\xff.",
    b"\x80\x80\x80\x80a.",
    "\u3000 ".encode(),
]
NATIVE += [b"\x80\x80 ", b"\t\xe3", b"'\xe2"]


def tiktoken_file(path: Path, tokens: Iterable[bytes]) -> Path:
    """Write a file of the 256 bytes, and of tokens with all the steps that lead to each."""
    steps = [token[:size] for token in tokens for size in range(2, len(token) + 1)]
    ranks = dict.fromkeys([*(bytes([byte]) for byte in BYTE_ORDER), *steps])
    lines = (b"%s %d\n" % (base64.b64encode(token), i) for i, token in enumerate(ranks))
    path.write_bytes(b"".join(lines))
    return path


def vocabulary_with(token: bytes) -> Vocabulary:
    merges = [(token[:size], token[size : size + 1]) for size in range(1, len(token))]
    return Vocabulary.from_merges(merges, ["<|endoftext|>"])


@pytest.mark.parametrize("token", FOREIGN)
def test_a_token_that_the_rule_never_yields_is_found(token: bytes) -> None:
    assert not fits_in_a_piece(token)


@pytest.mark.parametrize("token", NATIVE)
def test_a_token_that_the_rule_can_yield_is_none_of_them(token: bytes) -> None:
    assert fits_in_a_piece(token)


@given(st.text(st.sampled_from("ab'slverdtm \n\t\u3000é日😀1²!_."), max_size=30), st.data())
def test_every_part_of_a_piece_fits_in_a_piece(text: str, data: st.DataObject) -> None:
    for piece in split(text):
        content = piece.encode()
        first = data.draw(st.integers(0, len(content) - 1))
        last = data.draw(st.integers(first + 1, len(content)))
        assert fits_in_a_piece(content[first:last])


def test_every_token_of_the_released_vocabulary_fits_in_a_piece(released: Tokenizer) -> None:
    assert all(map(fits_in_a_piece, released.token_byte_values()))


@pytest.mark.parametrize("token", [b".com", b");\n", b"'S", b"\tif"])
def test_a_tiktoken_file_of_another_split_rule_is_refused_in_one_line(
    tmp_path: Path, token: bytes
) -> None:
    path = tiktoken_file(tmp_path / "cl100k_base.tiktoken", [b" the", b"  ", token])
    with pytest.raises(TokenizerError, match="cl100k_base.tiktoken.*GPT-2's split rule") as raised:
        Tokenizer.load(path)
    assert "\n" not in str(raised.value)


def test_a_tiktoken_file_of_gpt2s_split_rule_is_read(tmp_path: Path) -> None:
    path = tiktoken_file(tmp_path / "p50k_base.tiktoken", [b" the", b"    ", b"'ll", b"\n\n"])
    assert Tokenizer.load(path).encode_ordinary("    the\n\n")[-1] == 256 + 3 + 3 + 2


@given(st.text(st.sampled_from("ab'slve \n\t\u3000é日😀1²!"), min_size=1, max_size=60))
def test_a_learned_vocabulary_loads_from_every_kind_of_file(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    learned = Tokenizer.train([text, text], 300)
    folder = tmp_path_factory.mktemp("learned")
    for name in ("folder", "x.json", "x.tiktoken"):
        learned.save(folder / name)
        assert Tokenizer.load(folder / name).fingerprint == learned.fingerprint


def test_a_folder_of_another_split_rule_is_refused(tmp_path: Path) -> None:
    # As Qwen2's, which has vocab.json, merges.txt and a tokenizer.json that names the rule.
    vocabulary = vocabulary_with(b".com")
    files.write(vocabulary, tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(TokenizerError, match="GPT-2's split rule"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize(
    "rule",
    [
        None,
        {"type": "Sequence", "pretokenizers": [{"type": "Digits"}, {"type": "ByteLevel"}]},
        {"type": "Split", "pattern": {"Regex": "\\p{N}{1,3}"}, "behavior": "Isolated"},
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
        {"type": "ByteLevel", "add_prefix_space": True},
        {"type": "Metaspace"},
        {},
    ],
)
def test_a_tokenizer_json_that_names_another_split_rule_is_refused_alone_and_beside_vocab_json(
    tmp_path: Path, rule: object
) -> None:
    learned = Tokenizer.train(["abab"] * 2, 300)
    learned.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    learned.save(path)
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"pre_tokenizer": rule}))
    for where in (path, tmp_path):
        with pytest.raises(
            TokenizerError, match="tokenizer.json must be a byte-level BPE as GPT-2"
        ):
            Tokenizer.load(where)


def test_a_tokenizer_json_that_names_gpt2s_rule_may_hold_tokens_that_it_never_yields(
    tmp_path: Path,
) -> None:
    # They do no harm there, and what was loaded can be saved and loaded again.
    vocabulary = vocabulary_with(b".com")
    for path in (tmp_path / "x.json", tmp_path / "folder"):
        files.write(vocabulary, path)
        assert Tokenizer.load(path).vocabulary == vocabulary
    with pytest.raises(TokenizerError, match="GPT-2's split rule.*save it as a folder or as .json"):
        files.write(vocabulary, tmp_path / "x.tiktoken")
    assert not (tmp_path / "x.tiktoken").exists()
