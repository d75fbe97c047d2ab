import pytest

from gpt2.errors import InputError
from gpt2.files.pretrained import GPT2
from gpt2.visual.token_texts import token_id, token_ids, token_texts
from llm_tokenizer import Tokenizer


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" a$b\\", [" a", "$", "b", "\\"]),
        ("\n\t\0", ["\\n", "\\t", "\\x00"]),
        ("é日", ["é", "\\xe6\\x97", "\\xa5"]),
        ("😀", ["\\xf0\\x9f\\x98", "\\x80"]),
        ("<|endoftext|>", ["<|endoftext|>"]),
        ("\u200b", ["\\u200b"]),
    ],
    ids=ascii,
)
def test_tokens_are_shown_in_printable_characters(text: str, shown: list[str]) -> None:
    tokenizer = Tokenizer.gpt2()
    assert token_texts(tokenizer, tokenizer.encode(text, allowed_special="all")) == shown


def test_an_id_that_no_token_has_is_shown_as_a_number(gapped_model: GPT2) -> None:
    tokenizer = gapped_model.require_tokenizer()
    assert token_texts(tokenizer, [0, 270, 339, 419]) == ["!", "[270]", "<|endoftext|>", "[419]"]


@pytest.mark.parametrize(("text", "count"), [("", 0), ("<|endoftext|>" * 25, 25)])
def test_a_text_must_fit_into_the_context(model: GPT2, text: str, count: int) -> None:
    with pytest.raises(InputError, match=f"must have 1 to 24 tokens.* got {count}"):
        token_ids(model, text)


def test_a_text_needs_a_tokenizer(model: GPT2) -> None:
    model.tokenizer = None
    with pytest.raises(InputError, match="the model has no tokenizer"):
        token_ids(model, "a")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "got nothing; take another one"),
        ("two words", "got 'two', ' words'; take another one"),
        ("caterpillar", "got 'c', 'ater', 'pillar'; take another one"),
        ("elephant", "' elephant', with a space before it, is one"),
    ],
)
def test_a_text_that_is_not_one_token_is_refused_with_its_tokens(text: str, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        token_id(Tokenizer.gpt2(), text)
