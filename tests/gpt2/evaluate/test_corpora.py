"""The paper's test sets: hand-made pieces, and lm-eval's detokenizer as a reference."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2.errors import DataError
from gpt2.evaluate.corpora import (
    CORPORA,
    detokenized_ptb,
    detokenized_wikitext,
    last_twentieth,
    last_word,
    wikitext_pages,
)
from llm_tokenizer import Tokenizer

PAGE = """ = Robert <unk> = 
 
 Robert <unk> is an English film , television and theatre actor . He had a guest @-@ starring
role on the series " The Bill " in 1 @,@ 234 @.@ 5 episodes ( see below ) . 
 
 = = Career = = 
 
 = = = 2000 – 2005 = = = 
 
 The actors ' play , it 's said , was at 5 ° N ; and so on : yes ! 
"""  # noqa: W291, W293 # as WikiText has them


def test_wikitext_is_put_together_as_it_was_written() -> None:
    assert detokenized_wikitext(
        ' = = A = = \n It \'s a well @-@ known " test " . So ( it ) \n'
    ) == (' == A ==\nIt\'s a well-known "test". So (it)\n')


def test_wikitext_is_detokenized_as_lm_eval_does() -> None:
    from lm_eval.tasks.wikitext.preprocess_wikitext import wikitext_detokenizer

    assert detokenized_wikitext(PAGE) == wikitext_detokenizer({"page": PAGE})


@given(st.text(alphabet="as N1=@-,.:;!?()[]{}\"'°\n ", max_size=60))
def test_any_text_is_detokenized_as_lm_eval_does(text: str) -> None:
    from lm_eval.tasks.wikitext.preprocess_wikitext import wikitext_detokenizer

    assert detokenized_wikitext(text) == wikitext_detokenizer({"page": text})


@pytest.mark.parametrize("text", ["(" * 400_000, "( ) (" + " " * 400_000])
def test_brackets_that_never_close_are_left_in_linear_time(text: str) -> None:
    assert detokenized_wikitext(text) == text.replace("( )", "()")  # quadratic: many minutes


def test_a_file_of_wikitext_is_divided_where_articles_begin() -> None:
    other = " = Du Fu = \n \n Du Fu was a poet . \n"
    assert wikitext_pages("\n" + PAGE + other) == [PAGE, other]
    assert wikitext_pages(" no title \n") == [" no title \n"]


def test_the_penn_treebank_is_put_together() -> None:
    assert detokenized_ptb(" the company 's sales did n't exceed $ N <unk> \n no N N \n") == (
        "the company's sales didn't exceed $1 <unk>\nno 1 1\n"
    )


def test_the_last_word_alone_is_scored(tokenizer: Tokenizer) -> None:
    text = last_word("is hereby granted", tokenizer)
    given, scored = list(text.ids[: text.given]), list(text.ids[text.given :])
    assert given == tokenizer.encode("is hereby")
    assert scored == tokenizer.encode(" granted")
    assert (text.bytes, text.characters, text.words) == (7, 7, 1)


def test_a_passage_of_one_word_follows_end_of_text(tokenizer: Tokenizer) -> None:
    text = last_word("granted", tokenizer)
    assert text.given == 1
    assert list(text.ids) == [tokenizer.eot_token, *tokenizer.encode("granted")]


def test_a_lone_surrogate_in_the_last_word_is_replaced(tokenizer: Tokenizer) -> None:
    text = last_word("is \ud800", tokenizer)
    assert (text.bytes, text.characters) == (3, 1)  # U+FFFD
    assert tokenizer.decode(list(text.ids[text.given :])) == " \ufffd"


def test_of_a_whole_enwik8_the_end_is_taken() -> None:
    whole = "a" * 95_000_000 + "b" * 5_000_000
    assert last_twentieth(whole) == ["b" * 5_000_000]
    assert last_twentieth("ab") == ["ab"]


def test_rows_of_lines_are_put_together_and_divided() -> None:
    rows = [("f, line 1", {"text": line + "\n"}) for line in PAGE.splitlines()]
    assert CORPORA["wikitext2"].documents(rows + rows) == [PAGE, PAGE]
    pages = [("f, line 1", {"page": PAGE}), ("f, line 2", {"page": "x"})]
    assert CORPORA["wikitext2"].documents(pages) == [PAGE, "x"]
    sentences = [("f, line 1", {"sentence": "a b"}), ("f, line 2", {"sentence": "c"})]
    assert CORPORA["ptb"].documents(sentences) == ["a b\nc\n"]


def test_a_row_without_text_is_named_by_file_and_line() -> None:
    with pytest.raises(DataError, match="f.jsonl, line 2 must have the key 'text', it has other"):
        CORPORA["lambada"].documents(
            [("f.jsonl, line 1", {"text": "a"}), ("f.jsonl, line 2", {"other": 1})]
        )


def test_each_test_set_has_the_numbers_of_the_four_sizes() -> None:
    known = {name: next(iter(corpus.references.items())) for name, corpus in CORPORA.items()}
    assert known["wikitext103"] == (
        "word_perplexity",
        {"GPT-2 124M": 37.5, "GPT-2 355M": 26.37, "GPT-2 774M": 22.05, "GPT-2 1558M": 17.48},
    )
    for _, sizes in known.values():
        values = list(sizes.values())
        assert len(values) == 4
        assert values == sorted(values, reverse=True)
