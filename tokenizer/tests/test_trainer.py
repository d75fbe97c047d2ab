import json
import random
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers import models, pre_tokenizers, trainers
from transformers import GPT2TokenizerFast

from llm_tokenizer import Tokenizer, TokenizerError, learner, text_files
from llm_tokenizer.counting import learn_by_counting
from llm_tokenizer.piece_counter import PieceCounter
from llm_tokenizer.splitter import split
from llm_tokenizer.trainer import train
from llm_tokenizer.vocabulary import show_bytes

TEXT = (Path(__file__).parents[1] / "LICENSE").read_text(encoding="utf-8") * 2


def test_merges_are_learned_by_frequency() -> None:
    # "ab" stands 4 times and "bc" 3 times; joined to "ab", 3 of the 4 stand before a "c".
    tokenizer = Tokenizer.train(["abc", "abc", "abc", "ab"], 256 + 2 + 1, min_frequency=1)
    assert tokenizer.vocabulary.merges == [(b"a", b"b"), (b"ab", b"c")]


def test_equally_frequent_pairs_are_learned_in_the_order_of_their_ids() -> None:
    tokenizer = Tokenizer.train(["zy", "ab"], 256 + 1 + 1, min_frequency=1)
    assert tokenizer.vocabulary.merges == [(b"a", b"b")]


def test_a_repeated_character_is_counted_without_overlap_once_merged() -> None:
    tokenizer = Tokenizer.train(["aaaa"], 256 + 2 + 1, min_frequency=1)
    assert tokenizer.vocabulary.merges == [(b"a", b"a"), (b"aa", b"aa")]


def test_no_merge_crosses_a_piece_or_a_text() -> None:
    tokenizer = Tokenizer.train(["a b", "b a"], 400, min_frequency=1)
    assert {left + right for left, right in tokenizer.vocabulary.merges} == {b" a", b" b"}


def test_rare_pairs_are_not_learned() -> None:
    assert Tokenizer.train(["ab", "cd", "cd"], 300, min_frequency=2).vocabulary.merges == [
        (b"c", b"d")
    ]


def test_the_vocabulary_has_the_size_asked_for_and_ends_with_the_special_tokens() -> None:
    tokenizer = Tokenizer.train([TEXT], 400, special_tokens=["<|a|>", "<|b|>"])
    assert tokenizer.n_vocab == 400
    assert tokenizer.vocabulary.special_tokens == {"<|a|>": 398, "<|b|>": 399}


def test_files_are_read_with_their_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"\r\n")
    tokenizer = Tokenizer.train([path], 300, min_frequency=1)
    assert tokenizer.vocabulary.merges == [(b"\r", b"\n")]


def test_too_small_a_vocabulary_is_refused_with_the_smallest_that_would_do() -> None:
    with pytest.raises(TokenizerError, match="vocab_size must be at least 257 .* got 256"):
        Tokenizer.train(["text"], 256)


@pytest.mark.parametrize("special", ["", "a", "Ġthe"])
def test_a_special_token_must_differ_from_every_other(special: str) -> None:
    with pytest.raises(TokenizerError, match="a text that no other token has"):
        Tokenizer.train([" the the the"] * 2, 300, special_tokens=[special])


def test_memory_is_not_taken_for_tokens_that_cannot_be() -> None:
    huge = Tokenizer.train(["abab"] * 2, 10**20, min_frequency=1)
    assert huge.fingerprint == Tokenizer.train(["abab"] * 2, 300, min_frequency=1).fingerprint
    assert Tokenizer.train(["abab"], 300, min_frequency=10**20).vocabulary.merges == []


@pytest.mark.parametrize("text", [None, 1, b"ab"])
def test_what_is_neither_a_text_nor_a_path_is_refused(text: object) -> None:
    with pytest.raises(TokenizerError, match="must be strings or paths, got"):
        Tokenizer.train([text], 300)  # type: ignore[list-item]


def test_special_tokens_are_several_well_formed_texts() -> None:
    with pytest.raises(TokenizerError, match="special_tokens must be several texts"):
        Tokenizer.train(["text"], 300, special_tokens="<|a|>")
    with pytest.raises(TokenizerError, match="a special token must be well-formed text"):
        Tokenizer.train(["text"], 300, special_tokens=["\ud800"])


@pytest.mark.parametrize("special", ["", "a", "\ud800", b"<|end|>", 5])
def test_a_special_token_that_cannot_be_is_refused_before_the_texts_are_read(
    special: object,
) -> None:
    texts = iter(["abab"])
    with pytest.raises(TokenizerError, match="a special token must"):
        Tokenizer.train(texts, 300, special_tokens=[special])  # type: ignore[list-item]
    assert next(texts) == "abab"


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(b"ab\xff")
    with pytest.raises(TokenizerError, match="x.txt must be UTF-8 text: byte 2 is not"):
        Tokenizer.train([tmp_path / "x.txt"], 300)


def test_a_lone_surrogate_is_learned_as_it_is_encoded() -> None:
    learned = Tokenizer.train(["\ud800"] * 2, 300)
    assert learned.fingerprint == Tokenizer.train(["\ufffd"] * 2, 300).fingerprint


def test_a_single_text_is_not_taken_for_a_list_of_characters() -> None:
    with pytest.raises(TokenizerError, match="put a single one in a list"):
        Tokenizer.train("text", 300)


@given(
    texts=st.lists(st.text("ab", max_size=14) | st.text("abcé ", max_size=30), max_size=6),
    room=st.integers(0, 60),
    min_frequency=st.integers(1, 3),
)
def test_the_merges_are_those_found_by_counting_anew(
    texts: list[str], room: int, min_frequency: int
) -> None:
    # Few letters: almost every step has a tie or a run.
    vocabulary = train(texts, 256 + room, special_tokens=(), min_frequency=min_frequency)
    assert vocabulary.merges == learn_by_counting(pieces_of(texts), room, min_frequency)
    assert len(vocabulary.token_ids) == 256 + len(vocabulary.merges)  # no token is made twice


def test_more_pairs_than_there_was_room_for_are_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner, "BYTE_PAIRS", 4)  # as many as two letters have
    chance = random.Random(0)
    texts = ["".join(chance.choices("ab", k=50)) for _ in range(10)]
    merges = train(texts, 400, special_tokens=(), min_frequency=1).merges
    assert merges == learn_by_counting(pieces_of(texts), 400 - 256, 1)


@pytest.mark.parametrize("min_frequency", [1, 3])
def test_the_merges_are_those_of_hugging_face(min_frequency: int) -> None:
    ours = Tokenizer.train([TEXT], 700, special_tokens=[], min_frequency=min_frequency)

    theirs = HuggingFaceTokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        min_frequency=min_frequency,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    theirs.train_from_iterator([TEXT], trainer)

    assert theirs.get_vocab_size() == ours.n_vocab
    assert ours.encode_ordinary(TEXT) == theirs.encode(TEXT).ids


@pytest.mark.parametrize("seed", range(3))
def test_runs_and_ties_are_learned_as_hugging_face_learns_them(seed: int) -> None:
    # Few letters and short words: almost every step has a tie or a run of one token.
    chance = random.Random(seed)
    words = ["".join(chance.choices("ab", k=chance.randint(1, 12))) for _ in range(300)]
    text = " ".join(words)
    ours = Tokenizer.train([text], 420, special_tokens=[], min_frequency=1)
    theirs = HuggingFaceTokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, min_frequency=1, initial_alphabet=alphabet, show_progress=False
    )
    theirs.train_from_iterator([text], trainer)
    merges = json.loads(theirs.to_str())["model"]["merges"]
    assert [list(map(show_bytes, pair)) for pair in ours.vocabulary.merges] == merges


def test_a_saved_vocabulary_gives_transformers_the_same_ids(tmp_path: Path) -> None:
    ours = Tokenizer.train([TEXT], 600)
    ours.save(tmp_path)
    theirs = GPT2TokenizerFast.from_pretrained(tmp_path)
    assert theirs(TEXT).input_ids == ours.encode(TEXT)


def test_many_distinct_pieces_are_counted_right() -> None:
    # More of them than the counter begins with room for.
    words = [f"{k:x}" for k in range(100_000)] + ["zzzz"] * 3
    pieces = PieceCounter()
    for first in range(0, len(words), 1000):
        pieces.add("\n".join(words[first : first + 1000]))
    content, bounds, counts = pieces.pieces()
    found = {
        content[first:last].tobytes().decode(): count
        for (first, last), count in zip(pairwise(bounds), counts.tolist(), strict=True)
    }
    texts = ("\n".join(words[first : first + 1000]) for first in range(0, len(words), 1000))
    assert found == Counter(piece for text in texts for piece in split(text))


def test_texts_and_files_in_any_order_and_any_parts_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = TEXT.splitlines(keepends=True)
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    whole = Tokenizer.train([TEXT, *lines], 500)
    monkeypatch.setattr(text_files, "PART_BYTES", 100)
    parts = Tokenizer.train([*lines[::-1], tmp_path / "text.txt"], 500, show_progress=True)
    assert parts.fingerprint == whole.fingerprint


def test_the_bar_is_written_to_stderr_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    Tokenizer.train([TEXT], 300, show_progress=True)
    shown = capsys.readouterr()
    assert "counting pieces" in shown.err
    assert shown.out == ""


def pieces_of(texts: Iterable[str]) -> dict[bytes, int]:
    return Counter(piece.encode() for text in texts for piece in split(text))
