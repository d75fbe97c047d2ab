"""Write src/llm_tokenizer/assets/unicode_classes.txt from the tables of the `regex` module.

python tools/generate_unicode_classes.py > src/llm_tokenizer/assets/unicode_classes.txt

GPT-2's split rule asks of a code point only whether it is a letter (general category L), a number
(N) or white space (the White_Space property). The `regex` in constraints.txt is the newest whose
tables are those of the pinned tiktoken and tokenizers (Unicode 16); later ones know more letters
than those two do. tests/llm_tokenizer/test_unicode_classes.py tells when the two have moved on.
"""

from importlib.metadata import version

import regex

CLASSES = {"letter": r"\p{L}", "number": r"\p{N}", "space": r"\p{White_Space}"}
CODE_POINTS = range(0x110000)
# A letter that each version added: regex does not say which version its tables are of.
LANDMARKS = {"15.0": 0x31350, "16.0": 0x105C0, "17.0": 0x323B0, "18.0": 0x3D000}


def ranges(pattern: str) -> list[tuple[int, int]]:
    """Return the inclusive ranges of the code points that match `pattern`, ascending."""
    matches = regex.compile(pattern).fullmatch
    found: list[tuple[int, int]] = []
    for code in CODE_POINTS:
        if not matches(chr(code)):
            continue
        if found and found[-1][1] == code - 1:
            found[-1] = (found[-1][0], code)
        else:
            found.append((code, code))
    return found


def unicode_version() -> str:
    """Return the newest Unicode version whose landmark letter `regex` knows."""
    return max(v for v, code in LANDMARKS.items() if regex.match(r"\p{L}", chr(code)))


def main() -> None:
    print(f"# Unicode {unicode_version()}, from regex {version('regex')}: class, first-last (hex)")
    for name, pattern in CLASSES.items():
        for first, last in ranges(pattern):
            print(f"{name} {first:04X}-{last:04X}")


if __name__ == "__main__":
    main()
