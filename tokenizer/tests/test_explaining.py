import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_tokenizer import Tokenizer, TokenizerError
from llm_tokenizer.explaining import MOST_BYTES, MOST_PIECES, Explanation, explain, merge_steps
from llm_tokenizer.vocabulary import Vocabulary

L, O, W, E, R = (bytes([byte]) for byte in b"lower")  # noqa: E741
LOWER = [(L, O), (E, R), (L + O, W), (O, W)]  # in order of their ranks


@pytest.fixture(scope="module")
def lower() -> Tokenizer:
    """A vocabulary of four merges and a special token."""
    return Tokenizer(Vocabulary.from_merges(LOWER, ["<|end|>"]))


def test_each_merge_joins_the_pair_of_the_lowest_rank() -> None:
    steps = list(merge_steps(b"lower", {pair: rank for rank, pair in enumerate(LOWER)}))
    assert [step.tokens for step in steps] == [
        (L, O, W, E, R),
        (b"lo", W, E, R),
        (b"lo", W, b"er"),
    ]
    assert steps[-1].after == (b"low", b"er")
    assert [(step.rank, step.pair, step.joined) for step in steps] == [
        (0, (L, O), b"lo"),
        (1, (E, R), b"er"),
        (2, (b"lo", W), b"low"),
    ]


def test_a_merge_knows_the_ranks_of_all_neighbours_and_which_pairs_wait() -> None:
    first = next(merge_steps(b"lower", {pair: rank for rank, pair in enumerate(LOWER)}))
    assert first.ranks == (0, 3, None, 1)
    assert list(first.later.items()) == [((E, R), 1), ((O, W), 3)]


def test_of_equal_pairs_the_leftmost_is_joined_and_none_waits() -> None:
    first, second = merge_steps(b"lolo", {(L, O): 0})
    assert (first.at, first.later, second.at) == (0, {}, 1)


def test_a_piece_without_merges_has_no_steps_and_its_bytes_as_tokens(lower: Tokenizer) -> None:
    (piece,) = explain(lower, "xé").pieces
    assert piece.steps == ()
    assert [token for _, token in piece.tokens] == [b"x", b"\xc3", b"\xa9"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Hello, world",
            [
                ("Hello", 2, "letters", 'before ",", no letter'),
                (",", 4, "a sign", 'before " ", no sign'),
                (" world", 2, "a space and letters", "with the text"),
            ],
        ),
        (
            "It's 12  o'clock",
            [
                ("It", 2, "letters", 'before "\'", no letter'),
                ("'s", 1, "a contraction", "with the contraction"),
                (" 12", 3, "a space and numbers", 'before " ", no number'),
                (" ", 5, "white space", 'before " ", the last of the white space'),
                (" o", 2, "a space and a letter", 'before "\'", no letter'),
                ("'", 4, "a sign", 'before "c", no sign'),
                ("clock", 2, "letters", "with the text"),
            ],
        ),
        (
            "\nx\n\n",
            [
                ("\n", 6, "white space", 'before "x": only a space joins what follows'),
                ("x", 2, "a letter", 'before "\\n", no letter'),
                ("\n\n", 5, "white space", "with the text"),
            ],
        ),
        (
            "x <|endoftext|>",
            [
                ("x", 2, "a letter", 'before " ", no letter'),
                (" ", 5, "white space", "before a special token"),
                ("<|endoftext|>", None, "a special token", "with the token"),
            ],
        ),
    ],
)
def test_each_piece_knows_the_line_that_took_it_and_why_it_ends(
    released: Tokenizer, text: str, expected: list[tuple[str, int | None, str, str]]
) -> None:
    pieces = explain(released, text, allowed_special="all").pieces
    assert [(each.text, each.line, each.takes, each.ends) for each in pieces] == expected


def test_special_tokens_are_ordinary_text_unless_allowed(lower: Tokenizer) -> None:
    assert explain(lower, "<|end|>").ids == tuple(lower.encode_ordinary("<|end|>"))
    special = explain(lower, "<|end|>", allowed_special={"<|end|>"})
    assert special.ids == (lower.encode_single_token("<|end|>"),)
    assert special.pieces[0].steps == ()
    with pytest.raises(TokenizerError, match="put a single one in a set"):
        explain(lower, "<|end|>", allowed_special="<|end|>")


def test_pieces_of_one_text_are_distinct_once(lower: Tokenizer) -> None:
    explanation = explain(lower, "low low low<|end|>low low", allowed_special="all")
    assert [piece.text for piece in explanation.distinct] == ["low", " low", "<|end|>"]


def outcome(explanation: Explanation) -> list[bytes]:
    """Return the tokens after the last merge of each piece."""
    tokens: list[bytes] = []
    for piece in explanation.pieces:
        assert piece.steps is not None
        single = [bytes([byte]) for byte in piece.utf8] if piece.line else [piece.utf8]
        tokens.extend(piece.steps[-1].after if piece.steps else single)
    return tokens


TEXTS = st.text(
    st.sampled_from("aenorst  .,'’s12\n\t日é\u0301😀\u200dא\x00") | st.characters(), max_size=40
)


@given(TEXTS)
def test_the_steps_lead_to_the_tokens_of_encode(released: Tokenizer, text: str) -> None:
    explanation = explain(released, text)
    ids = released.encode(text, disallowed_special=())
    assert explanation.ids == tuple(ids)
    assert outcome(explanation) == released.decode_tokens_bytes(ids)
    assert [i for piece in explanation.pieces for i, _ in piece.tokens] == ids


@given(st.text(st.sampled_from("lowerx<|end|> "), max_size=40))
def test_the_steps_of_a_text_with_special_tokens_do_so_too(lower: Tokenizer, text: str) -> None:
    explanation = explain(lower, text + "<|end|>" + text, allowed_special="all")
    assert outcome(explanation) == lower.decode_tokens_bytes(explanation.ids)


def test_a_long_text_is_explained_from_its_start(lower: Tokenizer) -> None:
    explanation = explain(lower, " low" * (MOST_PIECES + 3))
    assert len(explanation.pieces) == MOST_PIECES
    assert explanation.left_out == " low" * 3
    assert len(explanation.ids) == 2 * (MOST_PIECES + 3)


def test_a_long_piece_has_its_tokens_and_no_steps(lower: Tokenizer) -> None:
    longest, longer = "x" * MOST_BYTES, "lo" * MOST_BYTES
    assert explain(lower, longest).pieces[0].steps == ()
    (piece,) = explain(lower, longer).pieces
    assert piece.steps is None
    assert [token for _, token in piece.tokens] == [b"lo"] * MOST_BYTES


def test_an_empty_text_has_no_pieces_and_a_lone_surrogate_is_read_as_fffd(
    lower: Tokenizer,
) -> None:
    assert explain(lower, "").pieces == ()
    assert explain(lower, "\ud800").text == "\ufffd"
