import numpy as np
import pyarrow as pa
import pytest

from llm_tokenizer import Tokenizer, TokenizerError, UnknownTokenError, codec
from llm_tokenizer.documents import utf8_of

from .conftest import on_compiled_path


@pytest.fixture(autouse=True)
def little_text_is_worth_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "WORTH_A_THREAD", 1)


TEXTS = ["Hello, world", "", "naïve 日本語", " a", "'s", "\n\n"]


@pytest.mark.parametrize("num_threads", [1, 2, 5])
@pytest.mark.parametrize("kind", ["list", "string", "large_string"])
def test_documents_have_the_ids_that_each_has_alone(
    gpt2: Tokenizer, kind: str, num_threads: int
) -> None:
    documents = TEXTS if kind == "list" else pa.array(TEXTS, kind)
    ids, offsets = gpt2.encode_documents(documents, num_threads=num_threads)
    assert ids.dtype == np.uint16
    assert offsets.dtype == np.int64
    assert len(offsets) == len(TEXTS) + 1
    for k, text in enumerate(TEXTS):
        assert ids[offsets[k] : offsets[k + 1]].tolist() == gpt2.encode_ordinary(text)


@pytest.mark.parametrize("num_threads", [1, 2, 5])
@pytest.mark.parametrize("kind", ["list", "large_string"])
def test_an_opener_stands_before_each_document(
    tokenizer: Tokenizer, kind: str, num_threads: int
) -> None:
    texts = ["", *TEXTS, "x" * 3000, ""]  # the long piece is merged in a way of its own
    documents = texts if kind == "list" else pa.array(texts, kind)
    opener = tokenizer.eot_token
    ids, offsets = tokenizer.encode_documents(documents, num_threads=num_threads, opener=opener)
    for k, text in enumerate(texts):
        expected = [opener, *tokenizer.encode_ordinary(text)]
        assert ids[offsets[k] : offsets[k + 1]].tolist() == expected


@pytest.mark.parametrize(("worth_a_thread", "started"), [(1, 3), (100, 2), (2**18, 1)])
def test_threads_are_started_for_so_much_text_alone(
    released: Tokenizer, monkeypatch: pytest.MonkeyPatch, worth_a_thread: int, started: int
) -> None:
    fast, parts = on_compiled_path(released), []
    monkeypatch.setattr(codec, "WORTH_A_THREAD", worth_a_thread)
    in_threads = codec.in_threads
    monkeypatch.setattr(
        codec, "in_threads", lambda do, items, n: parts.append(n) or in_threads(do, items, n)
    )
    texts = ["it's " * 10] * 3  # 150 bytes
    assert fast.encode_ordinary_batch(texts, num_threads=3) == [fast.encode(texts[0])] * 3
    assert parts == [started]


@pytest.mark.parametrize("opener", [np.uint16(50256), np.array(50256)])
def test_an_opener_may_be_one_of_numpys_numbers(released: Tokenizer, opener: int) -> None:
    for tokenizer in (released, on_compiled_path(released)):
        ids, _ = tokenizer.encode_documents(["Hello", ""], opener=opener)
        assert ids.tolist() == [50256, 15496, 50256]


def test_no_document_of_an_iterator_is_lost(gpt2: Tokenizer) -> None:
    # A lone surrogate makes a second pass of it.
    ids, offsets = gpt2.encode_documents(iter(["Hello", "\ud800"]))
    assert ids.tolist() == gpt2.encode("Hello\ud800")
    assert offsets.tolist() == [0, 1, 2]


def test_an_opener_that_is_no_token_is_refused(gpt2: Tokenizer) -> None:
    with pytest.raises(UnknownTokenError, match="50257"):
        gpt2.encode_documents(["a"], opener=50257)


@pytest.mark.parametrize(("first", "last"), [(0, 6), (1, 4), (2, 2), (5, 6)])
def test_a_slice_of_an_arrow_array_is_its_part_alone(
    gpt2: Tokenizer, first: int, last: int
) -> None:
    ids, offsets = gpt2.encode_documents(pa.array(TEXTS)[first:last])
    expected, expected_offsets = gpt2.encode_documents(TEXTS[first:last])
    assert ids.tolist() == expected.tolist()
    assert offsets.tolist() == expected_offsets.tolist()


def test_no_documents_and_empty_documents_have_no_ids(gpt2: Tokenizer) -> None:
    for documents in ([], pa.array([], "string"), ["", ""], pa.array(["", ""])):
        ids, offsets = gpt2.encode_documents(documents)
        assert len(ids) == 0
        assert offsets.tolist() == [0] * (len(documents) + 1)


def test_the_bytes_of_an_arrow_array_are_read_where_they_lie() -> None:
    documents = pa.array(TEXTS)
    utf8, _ = utf8_of(documents, 1)
    assert utf8.ctypes.data == documents.buffers()[2].address


@pytest.mark.parametrize(
    ("documents", "told"),
    [
        (pa.array(["a", None]), "document 1 is null"),
        (pa.array([1, 2]), "type string or large_string, got int64"),
        (pa.array([b"a"]), "type string or large_string, got binary"),
        (pa.chunked_array([["a"], ["b"]]), "chunks"),
        (pa.array([b"a", b"ab\xe6\x97"]).view("string"), "document 1 is not UTF-8"),
        ("text", "put a single one in a list"),
        (["a", None], "document 1 must be a string, got NoneType"),
    ],
)
def test_anything_else_is_refused_in_a_sentence(
    gpt2: Tokenizer, documents: object, told: str
) -> None:
    with pytest.raises(TokenizerError, match=told):
        gpt2.encode_documents(documents)  # type: ignore[arg-type]


@pytest.mark.parametrize("num_threads", [0, -1])
def test_no_threads_are_refused(gpt2: Tokenizer, num_threads: int) -> None:
    for call in (gpt2.encode_documents, gpt2.encode_batch, gpt2.encode_ordinary_batch):
        with pytest.raises(TokenizerError, match=f"must be at least 1, got {num_threads}"):
            call(TEXTS, num_threads=num_threads)
