import runpy
from importlib import resources
from itertools import accumulate
from pathlib import Path

import pytest
import tiktoken

from llm_tokenizer import Tokenizer, unicode_classes

from .conftest import on_compiled_path, on_reference_path

ROOT = Path(__file__).parents[1]
CHARACTERS = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]


def test_the_pinned_classes_are_what_the_script_generates() -> None:
    script = runpy.run_path(str(ROOT / "tools/generate_unicode_classes.py"))
    asset = resources.files("llm_tokenizer").joinpath("assets/unicode_classes.txt")
    assert script["table"]() == asset.read_text("ascii")


# Those at the borders of a class, and some of all others: the reference takes long over all.
EDGES = {
    code
    for name in ("letter", "number", "space")
    for first, last in unicode_classes.ranges(name)
    for code in (first - 1, first, last, last + 1)
}
SOME = [
    character for character in CHARACTERS if ord(character) in EDGES or ord(character) % 19 == 0
]


@pytest.fixture(params=["all", "some"])
def tested(released: Tokenizer, request: pytest.FixtureRequest) -> tuple[Tokenizer, list[str]]:
    if request.param == "all":
        return on_compiled_path(released), CHARACTERS
    return on_reference_path(released), SOME


def test_code_points_split_as_tiktoken_splits_them(
    tested: tuple[Tokenizer, list[str]], tiktoken_gpt2: tiktoken.Encoding
) -> None:
    tokenizer, characters = tested
    # The neighbours tell its class: it joins "b" if a letter, "1" if a number, "!" if neither.
    for first in range(0, len(characters), 4096):
        text = "b".join(f"{c}b{c}1{c}! {c}'s" for c in characters[first : first + 4096])
        assert tokenizer.encode_ordinary(text) == tiktoken_gpt2.encode_ordinary(text), hex(first)


def test_code_points_alone_have_tiktokens_ids(
    tested: tuple[Tokenizer, list[str]], tiktoken_gpt2: tiktoken.Encoding
) -> None:
    tokenizer, characters = tested
    ids, offsets = tokenizer.encode_documents(characters)
    expected = [tiktoken_gpt2.encode_ordinary(character) for character in characters]
    assert offsets.tolist() == list(accumulate(map(len, expected), initial=0))
    assert ids.tolist() == [i for alone in expected for i in alone]
