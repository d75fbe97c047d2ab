"""Write src/llm_tokenizer/assets/unicode_classes.txt from Unicode's tables.

In the folder tokenizer:

python tools/generate_unicode_classes.py > src/llm_tokenizer/assets/unicode_classes.txt

GPT-2's split rule asks of a code point only whether it is a letter (general category L), a number
(N) or white space (the White_Space property). The letters and numbers of tiktoken and tokenizers
are those of Unicode 16. Python 3.14 has its tables; for an older one the package unicodedata2 has
them, in the release that constraints.txt pins.
tests/test_unicode_classes.py tells when the two have moved on.
"""

from collections.abc import Callable

try:
    import unicodedata2 as unicodedata
except ImportError:
    import unicodedata


def is_space(character: str) -> bool:
    """Return whether Unicode gives the character the property White_Space."""
    return unicodedata.category(character) in ("Zs", "Zl", "Zp") or character in "\t\n\v\f\r\x85"


CLASSES: dict[str, Callable[[str], bool]] = {
    "letter": lambda character: unicodedata.category(character).startswith("L"),
    "number": lambda character: unicodedata.category(character).startswith("N"),
    "space": is_space,
}


def table() -> str:
    """Return the text of the file: a line a range of code points, in hexadecimal."""
    lines = [f"# Unicode {unicodedata.unidata_version}: class, first-last (hexadecimal)"]
    for name, belongs in CLASSES.items():
        lines += [f"{name} {first:04X}-{last:04X}" for first, last in ranges(belongs)]
    return "\n".join(lines) + "\n"


def ranges(belongs: Callable[[str], bool]) -> list[tuple[int, int]]:
    """Return the inclusive ranges of the code points that belong to a class, ascending."""
    found: list[tuple[int, int]] = []
    for code in range(0x110000):
        if not belongs(chr(code)):
            continue
        if found and found[-1][1] == code - 1:
            found[-1] = (found[-1][0], code)
        else:
            found.append((code, code))
    return found


if __name__ == "__main__":
    print(table(), end="")
