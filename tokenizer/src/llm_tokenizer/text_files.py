"""Text in files, read in parts."""

import codecs
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

from llm_tokenizer.errors import TokenizerError
from llm_tokenizer.splitter import last_cut

PART_BYTES = 2**22
CUT_WITHIN = 2**16  # characters from the end of a part: where to look for a cut
BYTE_ORDER_MARK = "\ufeff"


def read_text(path: Path | None) -> str:
    """Return the text of a UTF-8 file, or of stdin if None, as the parts of `text_parts` together.

    Raises:
        TokenizerError: The file cannot be read or is not UTF-8.
    """
    return "".join(text_parts(path))


def text_parts(path: Path | None) -> Iterator[str]:
    """Give a UTF-8 file in parts, cut where the ids stay those of the whole.

    Args:
        path: The file, or None for stdin.
    Yields:
        The text, its line ends as they are, about PART_BYTES at a time; more if it has no cut.
        A byte order mark at the start of the file is dropped.
    Raises:
        TokenizerError: The file cannot be read or is not UTF-8; it tells where.
    """
    if path is None and sys.stdin is None:
        raise TokenizerError("cannot read stdin: it is closed; name a file")
    name = path or "stdin"
    with _reading(name), path.open("rb") if path else nullcontext(sys.stdin.buffer) as file:
        yield from parts_of(file, str(name))


def check_readable(path: Path) -> None:
    """Make sure that a file is there and can be read, before costly work.

    Raises:
        TokenizerError: It is not, or it cannot.
    """
    with _reading(path):
        if not path.is_fifo():  # to open and close a pipe would end it
            path.open("rb").close()


@contextmanager
def _reading(name: Path | str) -> Iterator[None]:
    """Name the file in what goes wrong with it."""
    try:
        yield
    except OSError as error:
        raise TokenizerError(f"cannot read {name}: {error.strerror}") from None
    except ValueError as error:  # a path with a NUL in it
        if isinstance(error, TokenizerError):
            raise
        raise TokenizerError(f"cannot read {str(name)!r}: {error}") from None


def parts_of(file: BinaryIO, name: str) -> Iterator[str]:
    """Give the text of an open file in parts, as `text_parts` does.

    Args:
        file: Opened for reading bytes.
        name: What to call it in an error.
    Raises:
        TokenizerError: The file is not UTF-8; it tells where.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    done, waiting, held = 0, 0, [""]  # held: text in which is no cut
    at_start = True  # no character has been decoded yet
    try:
        while block := file.read(PART_BYTES):
            text = decoder.decode(block)
            if text and at_start:
                text, at_start = text.removeprefix(BYTE_ORDER_MARK), False
            done += len(block)
            waiting = len(decoder.getstate()[0])  # bytes of a character that is not complete
            end = (held[-1][-1:] + text)[-CUT_WITHIN:]
            if cut := last_cut(end):
                rest = len(end) - cut
                yield "".join([*held, text[: len(text) - rest]])
                held, text = [], text[len(text) - rest :]
            held.append(text)
        yield "".join([*held, decoder.decode(b"", final=True)])
    except UnicodeDecodeError as error:
        place = done - waiting + error.start
        raise TokenizerError(f"{name} must be UTF-8 text: byte {place} is not") from None
