import base64
import hashlib
import json
import re
from importlib import resources
from pathlib import Path

import pytest
import tiktoken
import tiktoken.load
import transformers
from tokenizers import Tokenizer as HuggingFaceTokenizer

from llm_tokenizer import Tokenizer, TokenizerError, files
from llm_tokenizer.vocabulary import BYTE_ORDER, Vocabulary

SPECIALS = ["<|endoftext|>", "<|é|>"]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    Tokenizer.train(["the cat, the hat é é"], 262, special_tokens=SPECIALS).save(tmp_path)
    return tmp_path


def test_the_bundled_merge_list_is_openais_byte_for_byte() -> None:
    asset = resources.files("llm_tokenizer").joinpath("assets/gpt2_merges.txt")
    published = "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"
    assert hashlib.sha256(asset.read_bytes()).hexdigest() == published


def test_the_released_ids_follow_from_the_merge_list(gpt2: Tokenizer, tmp_path: Path) -> None:
    gpt2.save(tmp_path)
    entries = json.loads((tmp_path / "vocab.json").read_text(encoding="utf-8"))
    # The sha256 of OpenAI's encoder.json, which separates with ", " and ": " and escapes.
    published = "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"
    assert hashlib.sha256(json.dumps(entries).encode()).hexdigest() == published


def test_a_saved_vocabulary_loads_the_same(directory: Path) -> None:
    loaded = Tokenizer.load(directory)
    trained = Tokenizer.train(["the cat, the hat é é"], 262, special_tokens=SPECIALS)
    assert loaded.vocabulary == trained.vocabulary
    assert loaded.fingerprint == trained.fingerprint


def test_ids_in_any_order_are_kept(tmp_path: Path) -> None:
    shuffled = {bytes([byte]): (byte * 7) % 256 + 1 for byte in range(256)}
    vocabulary = Vocabulary(shuffled | {b"ab": 300}, [(b"a", b"b")], {"<|endoftext|>": 0})
    files.write(vocabulary, tmp_path)
    assert files.read(tmp_path) == vocabulary
    assert Tokenizer.load(tmp_path).encode("ab") == [300]


def test_a_directory_with_a_tokenizer_json_alone_is_read(directory: Path, tmp_path: Path) -> None:
    ours = Tokenizer.load(directory)
    alone = tmp_path / "alone"
    transformers.GPT2TokenizerFast.from_pretrained(directory).save_pretrained(alone)
    assert (alone / "tokenizer.json").exists()
    assert not (alone / "vocab.json").exists()
    assert Tokenizer.load(alone).fingerprint == ours.fingerprint


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            {"model": {"type": "WordPiece"}, "pre_tokenizer": None},
            "model must be 'BPE', got 'WordP",
        ),
        (
            {"model": {}, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}},
            "add_prefix_space must be False, got True",
        ),
        (
            {"model": {}, "pre_tokenizer": {"type": "ByteLevel"}, "normalizer": {"type": "NFC"}},
            "got .*'NFC'",
        ),
        ({"model": {"type": "BPE"}, "pre_tokenizer": {"type": "ByteLevel"}}, "KeyError\\('vocab'"),
        ([], "is not a tokenizer.json"),
    ],
)
def test_another_kind_of_tokenizer_is_refused(tmp_path: Path, content: object, told: str) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(TokenizerError, match=told):
        Tokenizer.load(tmp_path)


CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
O200K_BEGINS = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"


def with_pre_tokenizer(path: Path, *steps: dict[str, object]) -> Path:
    """Write a tokenizer.json that is GPT-2's kind but for these steps of its pre-tokenizer."""
    Tokenizer.train(["abab"], 258).save(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": list(steps)}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("patterns", "told"),
    [
        ([CL100K], "got cl100k_base's (GPT-4, Llama 3); use"),
        ([CL100K.replace("{1,3}", "")], "got Qwen 2's; use"),
        ([O200K_BEGINS], "got o200k_base's (GPT-4o) or one like it; use"),
        ([r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", r"\s+"], "got DeepSeek's; use"),
        ([r"\w+|\W"], r"got '\\w+|\\W'; use"),
    ],
)
def test_a_split_rule_that_is_spelled_out_is_refused_by_the_name_of_its_owner(
    tmp_path: Path, patterns: list[str], told: str
) -> None:
    splits = [{"type": "Split", "pattern": {"Regex": pattern}} for pattern in patterns]
    path = with_pre_tokenizer(
        tmp_path / "x.json", *splits, {"type": "ByteLevel", "use_regex": False}
    )
    with pytest.raises(TokenizerError, match=re.escape(told)):
        Tokenizer.load(path)


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([{"type": "Digits"}, {"type": "ByteLevel"}], "got 'Digits + ByteLevel'"),
        ([{"type": "Split", "pattern": {"String": " "}}], "got 'Split'"),
        ([{"type": "ByteLevel", "use_regex": False}], "use_regex must be True, got False"),
    ],
)
def test_other_steps_before_the_merges_are_named(
    tmp_path: Path, steps: list[dict[str, object]], told: str
) -> None:
    with pytest.raises(TokenizerError, match=re.escape(told)):
        Tokenizer.load(with_pre_tokenizer(tmp_path / "x.json", *steps))


def test_a_sequence_of_gpt2s_step_alone_is_gpt2s_rule(tmp_path: Path) -> None:
    path = with_pre_tokenizer(tmp_path / "x.json", {"type": "ByteLevel", "add_prefix_space": False})
    assert Tokenizer.load(path).encode("ab") == [256]


@pytest.mark.parametrize("size", [100_256, 258])
def test_a_tiktoken_file_of_another_split_rule_is_refused_by_the_name_of_its_size(
    tmp_path: Path, size: int
) -> None:
    tokens = [bytes([byte]) for byte in range(256)] + [b".c"]
    tokens += [b"a%d" % i for i in range(size - len(tokens))]
    lines = [base64.b64encode(token) + b" %d\n" % i for i, token in enumerate(tokens)]
    path = tmp_path / "x.tiktoken"
    path.write_bytes(b"".join(lines))
    with pytest.raises(TokenizerError, match="which never joins b'.c' in one token") as raised:
        Tokenizer.load(path)
    named = "its 100256 tokens are as many as those of cl100k_base (GPT-4); use" in str(
        raised.value
    )
    assert named == (size == 100_256)


@pytest.mark.parametrize("name", ["folder", "tokenizer.json", "gpt2.tiktoken"])
def test_every_kind_of_file_holds_the_whole_vocabulary(
    released: Tokenizer, tmp_path: Path, name: str
) -> None:
    released.save(tmp_path / "new" / name)
    assert Tokenizer.load(tmp_path / "new" / name).fingerprint == released.fingerprint


def test_a_tiktoken_file_has_a_line_for_each_token_as_tiktoken_reads_it(
    released: Tokenizer, tiktoken_gpt2: tiktoken.Encoding, tmp_path: Path
) -> None:
    path = tmp_path / "gpt2.tiktoken"
    released.save(path)
    assert path.read_bytes().startswith(b"IQ== 0\nIg== 1\n")
    ranks = tiktoken.load.load_tiktoken_bpe(str(path))
    assert ranks == tiktoken_gpt2._mergeable_ranks


def test_end_of_text_gets_the_first_free_id_of_a_tiktoken_file(tmp_path: Path) -> None:
    # As in OpenAI's p50k_base, whose ids go on behind it.
    tokens = [bytes([byte]) for byte in BYTE_ORDER] + [b"ab", b"abc"]
    ids = {token: i + (i > 256) for i, token in enumerate(tokens)}
    lines = [base64.b64encode(token) + b" %d\n" % i for token, i in ids.items()]
    (tmp_path / "x.tiktoken").write_bytes(b"".join(lines))
    loaded = Tokenizer.load(tmp_path / "x.tiktoken")
    assert loaded.eot_token == 257
    assert loaded.vocabulary.merges == [(b"a", b"b"), (b"ab", b"c")]
    assert loaded.encode("abcab") == [258, 256]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"IQ== 0\nIQ== 5\n", "x.tiktoken: a token must have one id, b'!' has 0 and 5"),
        (b"IQ== 0\nIQ==\n", "x.tiktoken, line 2: wanted base64, a blank and an id, got 'IQ=='"),
        (b"I Q 0\n", "line 1"),
        (b"IQ== x\n", "line 1"),
        (b"%% 0\n", "line 1"),
        ("IQ== ٩\n".encode(), "line 1"),
        (
            b" 900\n"
            + b"".join(b"%s %d\n" % (base64.b64encode(bytes([b])), b) for b in range(256)),
            "a token must have one byte at least",
        ),
        (b"IQ== 0\n", "lacks 255"),
        (b"\xff\n", "must be UTF-8 text: byte 0 is not"),
    ],
)
def test_a_damaged_tiktoken_file_is_named_with_what_is_wrong(
    tmp_path: Path, content: bytes, told: str
) -> None:
    (tmp_path / "x.tiktoken").write_bytes(content)
    with pytest.raises(TokenizerError, match=told):
        Tokenizer.load(tmp_path / "x.tiktoken")


def test_a_tiktoken_file_is_refused_for_what_it_cannot_hold(tmp_path: Path) -> None:
    two_specials = Tokenizer.train(["a"], 258, special_tokens=["<|a|>", "<|b|>"])
    with pytest.raises(TokenizerError, match="no special tokens, this vocabulary has .'<.a.>'"):
        two_specials.save(tmp_path / "x.tiktoken")
    ids = {bytes([byte]): byte for byte in range(256)} | {b"ab": 257, b"cd": 256}
    unordered = Vocabulary(ids, [(b"a", b"b"), (b"c", b"d")], {})
    with pytest.raises(TokenizerError, match="in the order of their ids"):
        files.write(unordered, tmp_path / "x.tiktoken")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000])
def test_a_path_that_cannot_be_is_refused_in_one_line(path: str) -> None:
    with pytest.raises(TokenizerError, match="cannot read"):
        Tokenizer.load(path)


def test_a_merge_of_a_token_that_is_missing_is_named(directory: Path) -> None:
    with (directory / "merges.txt").open("a", encoding="utf-8") as file:
        file.write("q q\n")
    with pytest.raises(TokenizerError, match="q q, needs the token qq"):
        Tokenizer.load(directory)


def test_a_tiktoken_file_is_refused_where_ranks_would_merge_otherwise(tmp_path: Path) -> None:
    # By rank "abc" becomes "ab", "c", and so "abc" would be made of these two.
    vocabulary = Vocabulary.from_merges([(b"a", b"b"), (b"b", b"c"), (b"a", b"bc")])
    with pytest.raises(TokenizerError, match="does not give this vocabulary's merges"):
        files.write(vocabulary, tmp_path / "x.tiktoken")


@pytest.mark.parametrize(
    ("changes", "added", "told"),
    [
        ({"end_of_word_suffix": "</w>"}, {}, "end_of_word_suffix must be None, got '</w>'"),
        ({"dropout": 0.5}, {}, "dropout must be None, got 0.5"),
        ({"ignore_merges": True}, {}, "ignore_merges must be False, got True"),
        ({}, {"lstrip": True}, "lstrip false for the added token '<.endoftext.>'"),
        ({}, {"content": "a"}, "must not add a token that the merges make, too, got 'a'"),
        ({}, {"id": 300}, "a token must have one id, '<.endoftext.>' has 257 and 300"),
    ],
)
def test_a_tokenizer_json_that_would_encode_otherwise_is_refused(
    tmp_path: Path, changes: dict[str, object], added: dict[str, object], told: str
) -> None:
    path = tmp_path / "tokenizer.json"
    Tokenizer.train(["abab"], 258).save(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    content["model"] |= changes
    content["added_tokens"][0] |= added
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(TokenizerError, match=told):
        Tokenizer.load(path)


def test_hugging_face_tokenizers_reads_a_written_tokenizer_json(
    released: Tokenizer, tmp_path: Path
) -> None:
    released.save(tmp_path / "tokenizer.json")
    theirs = HuggingFaceTokenizer.from_file(str(tmp_path / "tokenizer.json"))
    text = "Hello, wörld<|endoftext|>'s  日本\n"
    assert theirs.encode(text).ids == released.encode(text, allowed_special="all")
    assert theirs.decode(theirs.encode("Hello, wörld").ids) == "Hello, wörld"


def test_transformers_opens_a_saved_vocabulary(directory: Path) -> None:
    theirs = transformers.GPT2TokenizerFast.from_pretrained(directory)
    text = "the cat é, that hat\n"
    assert theirs(text).input_ids == Tokenizer.load(directory).encode(text)


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("vocab.json", None, "cannot read .*vocab.json: No such file"),
        ("merges.txt", None, "cannot read .*merges.txt: No such file"),
        ("vocab.json", "{", "vocab.json is not valid JSON"),
        ("vocab.json", "[]", "must map each token to its id"),
        ("vocab.json", '{"a": -1}', "lacks 255"),
        ("vocab.json", '{"a": 1}', "lacks 255"),
        ("merges.txt", "#version: 0.2\nt h\nbroken\n", "line 3: wanted two tokens"),
        ("merges.txt", "t \u20ac\n", "stands for no byte"),
        ("merges.txt", "#version: 0.2\n", "merges.txt lacks the merge that makes the token"),
        ("vocab.json", '{"a": ' + "9" * 5000 + "}", "vocab.json is not valid JSON"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(
    directory: Path, file: str, content: str | None, told: str
) -> None:
    (directory / "tokenizer.json").unlink(missing_ok=True)
    if content is None:
        (directory / file).unlink()
    else:
        (directory / file).write_text(content, encoding="utf-8")
    with pytest.raises(TokenizerError, match=told):
        Tokenizer.load(directory)


@pytest.mark.parametrize("name", ["a.json", "b.tiktoken", "c.JSON", "tokenizer.json"])
def test_a_folder_is_a_folder_whatever_its_name(
    released: Tokenizer, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    released.save(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["merges.txt", "vocab.json"]
    assert Tokenizer.load(folder).fingerprint == released.fingerprint
    link = tmp_path / f"link-{name}"
    link.symlink_to(folder)
    assert Tokenizer.load(link).fingerprint == released.fingerprint


def test_a_folder_named_as_a_file_may_hold_a_tokenizer_json_alone(
    released: Tokenizer, tmp_path: Path
) -> None:
    folder = tmp_path / "x.tiktoken"
    folder.mkdir()
    released.save(folder / "tokenizer.json")
    assert Tokenizer.load(folder).fingerprint == released.fingerprint


@pytest.mark.parametrize("name", ["X.JSON", "x.TikToken"])
def test_the_kind_of_a_file_is_told_by_its_name_in_any_case(
    released: Tokenizer, tmp_path: Path, name: str
) -> None:
    released.save(tmp_path / name)
    assert (tmp_path / name).is_file()
    assert Tokenizer.load(tmp_path / name).fingerprint == released.fingerprint


def test_a_file_of_another_name_is_refused_with_the_names_that_are_read(tmp_path: Path) -> None:
    (tmp_path / "vocab.bpe").write_text("x")
    with pytest.raises(TokenizerError, match="vocab.bpe must be a folder, or end in .json or .tik"):
        Tokenizer.load(tmp_path / "vocab.bpe")


@pytest.mark.parametrize("name", ["x.tiktoken", "x.json", "folder"])
def test_a_failure_does_not_repeat_megabytes_of_the_file(tmp_path: Path, name: str) -> None:
    Tokenizer.train(["abab"] * 2, 300).save(tmp_path / "folder")
    if name == "x.json":
        content = {"model": {"type": "x" * 10**6}, "pre_tokenizer": {"type": "ByteLevel"}}
        (tmp_path / name).write_text(json.dumps(content))
    else:
        (tmp_path / name.replace("folder", "folder/merges.txt")).write_text("x" * 10**6)
    with pytest.raises(TokenizerError) as raised:
        Tokenizer.load(tmp_path / name)
    assert len(str(raised.value)) < 1000
