import inspect
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import ByteLevelBPETokenizer

from llm_tokenizer import Tokenizer, TokenizerError, UnknownTokenError
from llm_tokenizer.vocabulary import BYTE_ORDER, Vocabulary

from .conftest import on_compiled_path, on_reference_path

EOT = "<|endoftext|>"
TEXTS = [
    "",
    "Hello, I'm a language model,",
    "def f(x):\n    return {'a': x**2}\n\n\tif  x  :\n",
    "Füße, naïve, Ελληνικά, русский, עברית, العربية, हिन्दी, 日本語, 한국어, ไทย",
    "👩\u200d👩\u200d👧 🏳️\u200d🌈 🇫🇷 é\u0301",
    "  \t mixed \u00a0 white\u2028space\u3000here\u0085and\u1680at the end \n \n  ",
    "\x00\x01\x1b[0m\x1c\x1d\x1e\x1f\x7f",
    "it's IT'S we'll WE'LL 'tis ''s '",
    "a" * 1000 + " " * 1000 + "!" * 1000 + "1" * 1000,
    "１２３ ½ Ⅷ ٣ x²",
    EOT + "<|endoftext",
]


@pytest.mark.parametrize("text", TEXTS)
def test_ids_equal_those_of_tiktoken_and_hugging_face(
    gpt2: Tokenizer,
    tiktoken_gpt2: tiktoken.Encoding,
    hugging_face: ByteLevelBPETokenizer,
    text: str,
) -> None:
    ids = gpt2.encode_ordinary(text)
    assert ids == tiktoken_gpt2.encode_ordinary(text)
    assert ids == hugging_face.encode(text).ids
    assert gpt2.decode(ids) == text


@settings(max_examples=300)
@given(st.text())
def test_any_text_has_tiktokens_ids_and_comes_back(
    gpt2: Tokenizer, tiktoken_gpt2: tiktoken.Encoding, text: str
) -> None:
    ids = gpt2.encode_ordinary(text)
    assert ids == tiktoken_gpt2.encode_ordinary(text)
    assert gpt2.decode(ids) == text


@pytest.mark.parametrize(
    "text", ["\ud800", "a\udfffb", "\ud83d\ude00", "\ude00\ud83d", "\ud800 \ud800"]
)
def test_surrogates_are_read_as_tiktoken_reads_them(
    gpt2: Tokenizer, tiktoken_gpt2: tiktoken.Encoding, text: str
) -> None:
    assert gpt2.encode(text) == tiktoken_gpt2.encode(text)


def test_every_token_decodes_to_its_bytes(
    gpt2: Tokenizer, tiktoken_gpt2: tiktoken.Encoding
) -> None:
    assert gpt2.n_vocab == 50257
    for i in range(gpt2.n_vocab):
        assert gpt2.decode_single_token_bytes(i) == tiktoken_gpt2.decode_single_token_bytes(i)
    assert gpt2.token_byte_values() == tiktoken_gpt2.token_byte_values()


@given(st.lists(st.integers(0, 50256)))
def test_any_ids_decode_without_loss(
    gpt2: Tokenizer, tiktoken_gpt2: tiktoken.Encoding, ids: list[int]
) -> None:
    assert gpt2.decode_bytes(ids) == tiktoken_gpt2.decode_bytes(ids)
    assert gpt2.decode(ids) == tiktoken_gpt2.decode(ids)


def test_a_special_token_in_the_text_is_refused_and_the_error_names_the_ways_out(
    gpt2: Tokenizer,
) -> None:
    with pytest.raises(TokenizerError) as raised:
        gpt2.encode(f"one{EOT}two")
    for way in (EOT, "allowed_special=", "disallowed_special=()", "special_tokens_set"):
        assert way in str(raised.value)


def test_a_special_token_is_encoded_as_its_id_where_allowed(
    gpt2: Tokenizer, tiktoken_gpt2: tiktoken.Encoding
) -> None:
    text = f"{EOT}one{EOT}{EOT}two"
    ids = gpt2.encode(text, allowed_special={EOT})
    assert ids == gpt2.encode(text, allowed_special="all")
    assert ids == tiktoken_gpt2.encode(text, allowed_special={EOT})
    assert ids.count(gpt2.eot_token) == 3
    # A text that is allowed and is no special token is ordinary text.
    assert gpt2.encode("a" + EOT, allowed_special={"a", EOT}) == [64, 50256]


def test_a_special_token_is_ordinary_text_where_not_disallowed(
    gpt2: Tokenizer, tiktoken_gpt2: tiktoken.Encoding
) -> None:
    ids = gpt2.encode(EOT, disallowed_special=())
    assert ids == tiktoken_gpt2.encode(EOT, disallowed_special=())
    assert gpt2.eot_token not in ids


def test_a_token_that_is_allowed_and_disallowed_is_refused_as_tiktoken_does(
    gpt2: Tokenizer, tiktoken_gpt2: tiktoken.Encoding
) -> None:
    for encode in (gpt2.encode, tiktoken_gpt2.encode):
        with pytest.raises(ValueError, match="disallowed_special"):
            encode(EOT, allowed_special={EOT}, disallowed_special={EOT})


def test_arrays_hold_the_same_ids_in_the_smallest_type(gpt2: Tokenizer) -> None:
    array = gpt2.encode_to_array("naïve")
    assert array.dtype == np.uint16
    assert array.tolist() == gpt2.encode("naïve")
    assert gpt2.encode_to_array("naïve".encode()).tolist() == array.tolist()


def test_a_single_token_is_found_by_text_bytes_or_special_name(gpt2: Tokenizer) -> None:
    assert gpt2.encode_single_token(" the") == 262
    assert gpt2.encode_single_token(b" the") == 262
    assert gpt2.encode_single_token(EOT) == gpt2.eot_token == gpt2.max_token_value == 50256
    assert gpt2.encode_single_token(EOT.encode()) == 50256


def test_what_the_vocabulary_does_not_hold_is_a_key_error_with_a_sentence(gpt2: Tokenizer) -> None:
    with pytest.raises(UnknownTokenError, match="' quokkas' is not one token"):
        gpt2.encode_single_token(" quokkas")
    with pytest.raises(KeyError, match="token id 50257 is not in this vocabulary of 50257"):
        gpt2.decode([50257])


@pytest.mark.parametrize("num_threads", [1, 3])
def test_a_batch_is_encoded_and_decoded_text_by_text(
    gpt2: Tokenizer, tiktoken_gpt2: tiktoken.Encoding, num_threads: int
) -> None:
    texts = TEXTS[:-1]
    ids = gpt2.encode_batch(texts, num_threads=num_threads)
    assert ids == tiktoken_gpt2.encode_batch(texts)
    assert ids == gpt2.encode_ordinary_batch(texts, num_threads=num_threads)
    assert gpt2.decode_batch(ids, num_threads=num_threads) == texts
    with pytest.raises(TokenizerError, match="special token"):
        gpt2.encode_batch(TEXTS, num_threads=num_threads)
    allowed = gpt2.encode_batch(TEXTS, allowed_special="all", num_threads=num_threads)
    assert allowed == tiktoken_gpt2.encode_batch(TEXTS, allowed_special="all")


@pytest.mark.parametrize("num_threads", [1, 3])
def test_a_batch_of_which_some_texts_hold_special_tokens_keeps_its_order(
    gpt2: Tokenizer, tiktoken_gpt2: tiktoken.Encoding, num_threads: int
) -> None:
    texts = ["a", f"b{EOT}", "<|end", "", EOT, "\ud800", "c" * 30_000]
    for specials in ({"allowed_special": {EOT}}, {"disallowed_special": ()}):
        ids = gpt2.encode_batch(texts, num_threads=num_threads, **specials)
        assert ids == tiktoken_gpt2.encode_batch(texts, **specials)
    assert gpt2.encode_batch([], num_threads=num_threads) == []
    assert gpt2.encode_batch(iter(["a", "b"])) == [[64], [65]]  # type: ignore[arg-type]


def test_text_that_is_disallowed_and_no_special_token_is_refused_in_a_batch_too(
    gpt2: Tokenizer, tiktoken_gpt2: tiktoken.Encoding
) -> None:
    for tokenizer in (gpt2, tiktoken_gpt2):
        assert tokenizer.encode_batch(["ab"], disallowed_special={"x"}) == [[397]]
        with pytest.raises(ValueError, match="special token 'x'"):
            tokenizer.encode_batch(["ab", "axb"], disallowed_special={"x"})


@pytest.mark.parametrize("on_path", [on_reference_path, on_compiled_path])
def test_of_several_special_tokens_each_is_found(
    on_path: Callable[[Tokenizer], Tokenizer],
) -> None:
    alike, unlike = ["<|a|>", "<|ab|>"], ["[x]", "<|a|>"]
    for specials in (alike, unlike):
        tokenizer = on_path(Tokenizer.train(["low"], 258, special_tokens=specials))
        for special, i in tokenizer.vocabulary.special_tokens.items():
            assert tokenizer.encode(f"l{special}", allowed_special="all")[1:] == [i]
            assert tokenizer.encode_batch(["l", special], allowed_special="all")[1] == [i]
            with pytest.raises(TokenizerError, match="special token"):
                tokenizer.encode(f"l{special}")
    without = on_path(Tokenizer.train(["low"], 256, special_tokens=()))
    assert without.decode(without.encode("l<|a|>")) == "l<|a|>"


@pytest.mark.parametrize("size", [2**14 - 1, 2**14, 2**14 + 1])
def test_a_text_around_the_size_of_the_kept_memory_has_its_ids(
    gpt2: Tokenizer, tiktoken_gpt2: tiktoken.Encoding, size: int
) -> None:
    text = ("it's é 12, " * size).encode()[:size].decode("utf-8", "ignore").ljust(size)
    assert gpt2.encode(text) == tiktoken_gpt2.encode(text)
    first, second = gpt2.encode_to_numpy(text), gpt2.encode_to_numpy("b" + text)
    assert first.tolist() == tiktoken_gpt2.encode(text)  # the second call left it as it was
    assert second.tolist() == tiktoken_gpt2.encode("b" + text)


def test_a_list_of_ids_is_the_callers_own_whatever_its_length(gpt2: Tokenizer) -> None:
    for text in ("a b", "a b " * 5000):
        first = gpt2.encode(text)
        expected = list(first)
        first[0] = -1
        assert gpt2.encode(text) == expected
        assert {type(i) for i in expected} == {int}


def test_threads_may_encode_short_texts_at_once(
    released: Tokenizer, tiktoken_gpt2: tiktoken.Encoding
) -> None:
    fast = on_compiled_path(released)
    texts = [f"text {k}, it's {'x' * (k % 70)} naïve" for k in range(500)]
    with ThreadPoolExecutor(4) as threads:
        ids = list(threads.map(fast.encode, texts))
    assert ids == [tiktoken_gpt2.encode(text) for text in texts]


@pytest.mark.parametrize("text", TEXTS)
def test_offsets_are_those_of_tiktoken(
    gpt2: Tokenizer, tiktoken_gpt2: tiktoken.Encoding, text: str
) -> None:
    ids = gpt2.encode_ordinary(text)
    assert gpt2.decode_with_offsets(ids) == tiktoken_gpt2.decode_with_offsets(ids)


def test_offsets_of_half_a_character_are_refused(gpt2: Tokenizer) -> None:
    half = gpt2.encode("日")[:1]
    with pytest.raises(UnicodeDecodeError):
        gpt2.decode_with_offsets(half)


@pytest.mark.parametrize(
    "of_type",
    [list, tuple, iter, np.array, lambda ids: np.array(ids, "u2"), lambda ids: np.array(ids, "i8")],
)
def test_ids_of_any_kind_of_sequence_are_decoded(
    gpt2: Tokenizer, of_type: Callable[[list[int]], Iterable[int]]
) -> None:
    assert gpt2.decode(of_type([15496, 11, 995])) == "Hello, world"


@pytest.mark.parametrize("of_type", [bytes, bytearray])
def test_bytes_are_a_sequence_of_ids_like_any_other(
    gpt2: Tokenizer, of_type: Callable[[list[int]], bytes]
) -> None:
    assert gpt2.decode(of_type([5, 0, 0, 0])) == gpt2.decode([5, 0, 0, 0])


@pytest.mark.parametrize("wrong", [-1, 50257, 2**32, 2**70])
def test_an_id_that_does_not_exist_is_named(gpt2: Tokenizer, wrong: int) -> None:
    for ids in ([1, wrong], [*range(2000), wrong]):
        with pytest.raises(UnknownTokenError, match=f"token id {wrong} is not in this vocabulary"):
            gpt2.decode(ids)


def test_an_id_that_is_no_whole_number_is_a_type_error(gpt2: Tokenizer) -> None:
    for ids in ([1.0], ["1"], [None]):
        with pytest.raises(TypeError):
            gpt2.decode(ids)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [b"ab\xff", b"\xe6\x97", b"\xed\xa0\x80", bytes(range(256))])
def test_bytes_that_are_not_utf8_are_read_as_python_reads_them(
    gpt2: Tokenizer, text: bytes
) -> None:
    expected = gpt2.encode_ordinary(text.decode("utf-8", "replace"))
    assert gpt2.encode_to_array(text).tolist() == expected


def test_a_process_switches_to_the_compiled_path_when_it_has_text_enough() -> None:
    code = (
        "import sys; from llm_tokenizer import Tokenizer; t = Tokenizer.gpt2();"
        "first = t.encode('Hello, world'); before = 'numba' in sys.modules;"
        "t.encode_to_array('a ' * 2**20); print(before, 'numba' in sys.modules,"
        "t.encode('Hello, world') == first)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "False True True\n"


def test_the_package_imports_neither_torch_nor_a_peer() -> None:
    code = "import llm_tokenizer, sys, json; print(json.dumps(sorted(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    modules = set(json.loads(loaded))
    assert not modules & {"torch", "gpt2", "tiktoken", "tokenizers", "regex", "transformers"}
    assert not modules & {"numba", "numpy", "pyarrow", "rich"}


@pytest.mark.parametrize("wrong", [EOT, "", "none", "All", EOT.encode()])
def test_a_plain_string_of_special_tokens_is_refused_with_the_form_that_is_wanted(
    gpt2: Tokenizer, wrong: str
) -> None:
    for name in ("allowed_special", "disallowed_special"):
        for encode, text in (
            (gpt2.encode, "a"),
            (gpt2.encode_to_numpy, "a"),
            (gpt2.encode_batch, ["a"]),
        ):
            with pytest.raises(TokenizerError, match=f'{name} must be "all" or several texts'):
                encode(text, **{name: wrong})  # type: ignore[operator]


def test_numpy_ids_are_those_of_encode_special_tokens_included(
    gpt2: Tokenizer, tiktoken_gpt2: tiktoken.Encoding
) -> None:
    text = f"naïve{EOT}text"
    array = gpt2.encode_to_numpy(text, allowed_special={EOT})
    assert array.dtype == np.uint16
    assert array.tolist() == tiktoken_gpt2.encode_to_numpy(text, allowed_special={EOT}).tolist()
    ordinary = gpt2.encode_to_numpy(text, disallowed_special=())
    assert ordinary.dtype == np.uint16
    assert ordinary.tolist() == gpt2.encode_ordinary(text)
    with pytest.raises(TokenizerError, match="special token"):
        gpt2.encode_to_numpy(text)


def test_the_rest_of_tiktokens_names_mean_what_they_mean_there(
    gpt2: Tokenizer, tokenizer: Tokenizer, tiktoken_gpt2: tiktoken.Encoding
) -> None:
    ids = gpt2.encode("naïve 日本")
    assert gpt2.decode_tokens_bytes(ids) == tiktoken_gpt2.decode_tokens_bytes(ids)
    assert gpt2.decode_bytes_batch([ids, []]) == tiktoken_gpt2.decode_bytes_batch([ids, []])
    for i in (0, 50255, 50256, 50257):
        assert gpt2.is_special_token(i) == tiktoken_gpt2.is_special_token(i)
    assert (gpt2.name, tokenizer.name) == ("gpt2", "custom")


def test_every_public_name_of_tiktoken_is_here_but_one(tiktoken_gpt2: tiktoken.Encoding) -> None:
    theirs = {name for name in dir(tiktoken_gpt2) if not name.startswith("_")}
    assert theirs - set(dir(Tokenizer)) == {"encode_with_unstable"}


def test_parameters_have_tiktokens_names_order_kinds_and_defaults(
    tiktoken_gpt2: tiktoken.Encoding,
) -> None:
    names = [
        name
        for name in vars(Tokenizer)
        if not name.startswith("_") and callable(getattr(tiktoken_gpt2, name, None))
    ]
    assert len(names) >= 15
    for name in names:
        ours, theirs = map(parameters_of, (Tokenizer, tiktoken.Encoding), (name, name))
        assert ours == theirs, name


def parameters_of(owner: type, name: str) -> list[tuple[object, ...]]:
    """Return name, kind and default of each parameter; an empty set and () mean the same."""
    parameters = inspect.signature(getattr(owner, name)).parameters.values()
    return [(p.name, p.kind, () if p.default == set() else p.default) for p in parameters]


def with_gaps(ids: Iterable[int], end_of_text: int) -> Tokenizer:
    """Return a tokenizer whose 256 bytes have these ids."""
    token_ids = dict(zip((bytes([byte]) for byte in BYTE_ORDER), ids, strict=True))
    return Tokenizer(Vocabulary(token_ids, [], {EOT: end_of_text}))


@pytest.mark.parametrize("on_path", [on_reference_path, on_compiled_path])
def test_ids_without_a_token_are_counted_listed_and_refused(
    on_path: Callable[[Tokenizer], Tokenizer], tmp_path: Path
) -> None:
    ids = [i for i in range(259) if i not in (0, 7, 100)]
    with_gaps(ids, 300).save(tmp_path)
    tokenizer = on_path(Tokenizer.load(tmp_path))
    assert (tokenizer.n_vocab, tokenizer.max_token_value) == (301, 300)
    assert tokenizer.unused_ids == (0, 7, 100, *range(259, 300))
    for i in range(301):
        if i not in tokenizer.unused_ids:
            assert tokenizer.decode_bytes([i]) == tokenizer.decode_single_token_bytes(i)
            continue
        for decode in (tokenizer.decode, tokenizer.decode_bytes, tokenizer.decode_tokens_bytes):
            with pytest.raises(UnknownTokenError, match=f"token id {i} .* unused_ids lists"):
                decode([i])
        with pytest.raises(UnknownTokenError):
            tokenizer.decode_single_token_bytes(i)
    with pytest.raises(UnknownTokenError, match="token id 301 is not in this vocabulary of 301$"):
        tokenizer.decode([301])


def test_a_vocabulary_without_gaps_has_no_unused_ids(gpt2: Tokenizer, tokenizer: Tokenizer) -> None:
    assert gpt2.unused_ids == tokenizer.unused_ids == ()


def test_a_failure_does_not_repeat_megabytes_of_the_text(gpt2: Tokenizer) -> None:
    long = "x" * 10**6
    for fail in (
        lambda: gpt2.encode_single_token(long),
        lambda: gpt2.encode("x", allowed_special=long),
    ):
        with pytest.raises(TokenizerError) as raised:
            fail()
        assert len(str(raised.value)) < 1000


def test_a_single_text_is_not_a_batch_of_characters(gpt2: Tokenizer) -> None:
    for encode in (gpt2.encode_batch, gpt2.encode_ordinary_batch):
        with pytest.raises(TokenizerError, match="put a single one in a list"):
            encode("abc")


@pytest.mark.parametrize("wrong", [None, 50256, True])
def test_what_is_no_collection_of_special_tokens_is_refused(gpt2: Tokenizer, wrong: object) -> None:
    for name in ("allowed_special", "disallowed_special"):
        with pytest.raises(TokenizerError, match=f"{name} must be .* got {wrong}"):
            gpt2.encode("a", **{name: wrong})  # type: ignore[arg-type]
