import runpy
from importlib import resources
from pathlib import Path

import tiktoken

from llm_tokenizer import Tokenizer

ROOT = Path(__file__).parents[2]
# Every code point of the planes that Unicode has put characters in, and some of the empty ones.
CODE_POINTS = [
    code
    for code in range(0x110000)
    if (code < 0x40000 or code >> 16 == 0xE or code % 17 == 0) and not 0xD800 <= code < 0xE000
]


def test_the_pinned_classes_are_what_the_script_generates() -> None:
    script = runpy.run_path(str(ROOT / "tools/generate_unicode_classes.py"))
    asset = resources.files("llm_tokenizer").joinpath("assets/unicode_classes.txt")
    assert script["table"]() == asset.read_text("ascii")


def test_code_points_split_as_tiktoken_splits_it(
    gpt2: Tokenizer, reference: tiktoken.Encoding
) -> None:
    # The neighbours tell its class: it joins "b" if a letter, "1" if a number, "!" if neither.
    for first in range(0, len(CODE_POINTS), 64):
        characters = [chr(code) for code in CODE_POINTS[first : first + 64]]
        text = "b".join(f"{c}b{c}1{c}! {c}'s" for c in characters)
        assert gpt2.encode_ordinary(text) == reference.encode_ordinary(text), hex(first)
