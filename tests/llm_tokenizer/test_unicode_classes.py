import runpy
from importlib import resources
from pathlib import Path

import tiktoken

from llm_tokenizer import Tokenizer

ROOT = Path(__file__).parents[2]
CODE_POINTS = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]


def test_the_pinned_classes_are_what_the_script_generates() -> None:
    script = runpy.run_path(str(ROOT / "tools/generate_unicode_classes.py"))
    asset = resources.files("llm_tokenizer").joinpath("assets/unicode_classes.txt")
    assert script["table"]() == asset.read_text("ascii")


def test_every_code_point_splits_as_tiktoken_splits_it(
    gpt2: Tokenizer, reference: tiktoken.Encoding
) -> None:
    # The neighbours tell its class: it joins "b" if a letter, "1" if a number, "!" if neither.
    for first in range(0, len(CODE_POINTS), 64):
        characters = [chr(code) for code in CODE_POINTS[first : first + 64]]
        text = "b".join(f"{c}b{c}1{c}! {c}'s  {c}" for c in characters)
        assert gpt2.encode_ordinary(text) == reference.encode_ordinary(text), hex(first)
