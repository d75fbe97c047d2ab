"""What texts are there to encode on every machine with the extra `bench`?

Each is a function of what is installed, so it is the same for the same installation. The special
token is taken out: some peers read it as one.
"""

import gzip
import os
import random
import re
import struct
import sys
import sysconfig
import zlib
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from importlib.metadata import distribution
from pathlib import Path

from gpt2.prepare.stdlib_docs import stdlib_docs
from llm_tokenizer.vocabulary import END_OF_TEXT

MEGABYTE = 1_000_000
LARGEST_FILE = 8 * MEGABYTE  # bytes: no one file is more than a hundredth of the mixture
PEEK = 4096  # bytes, enough to see that a file is no text
CATALOG = b"\xde\x12\x04\x95"  # how a little-endian .mo file begins


def english() -> str:
    """Return 4 MB of Python's documentation."""
    return joined(map(str.encode, stdlib_docs()), 4 * MEGABYTE)


def code() -> str:
    """Return 4 MB of Python's source."""
    library = Path(sysconfig.get_path("stdlib"))
    return joined((path.read_bytes() for path in sorted(library.glob("*.py"))), 4 * MEGABYTE)


def scripts() -> str:
    """Return 4 MB of Django's translations, in many scripts, language by language."""
    return joined(django_translations(), 4 * MEGABYTE)


def sources() -> str:
    """Return 60 MB of Python sources."""
    return joined(python_sources(), 60 * MEGABYTE)


def mixed() -> str:
    """Return 1 GB of what is installed as text: sources, documentation, data, translations."""
    folders = [*python_folders(), Path("/usr/share"), Path("/usr/include")]
    paths = [path for folder in folders for path in files_under(folder)]
    random.Random(0).shuffle(paths)
    return joined(once(content(path) for path in paths), 1000 * MEGABYTE)


TEXTS = {
    "english": english,
    "python": code,
    "scripts": scripts,
    "sources": sources,
    "mixed": mixed,
}


def python_sources() -> Iterator[bytes]:
    """Give the sources of the Python installation and then of its packages, each once."""
    paths = (path for folder in python_folders() for path in files_under(folder))
    return once(content(path) for path in paths if path.suffix == ".py")


def python_folders() -> list[Path]:
    """Return the standard library's folder and those of installed packages."""
    packages = {path for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
    return [Path(sysconfig.get_path("stdlib")), *map(Path, sorted(packages))]


def files_under(folder: Path) -> Iterator[Path]:
    """Give the files of a folder and its folders, sorted; links are not followed."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for path in (Path(root, name) for name in sorted(names)):
            if path.is_file() and not path.is_symlink():
                yield path


def content(path: Path) -> bytes:
    """Return the text of a file as UTF-8: unpacked, if packed; empty, if it is no text."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            start = file.read(PEEK)
            if b"\0" in start and not start.startswith(CATALOG):
                return b""
            whole = start + file.read(LARGEST_FILE)
        text = catalog_texts(whole) if whole.startswith(CATALOG) else whole
    except (OSError, EOFError, zlib.error, struct.error):  # not readable, or damaged
        return b""
    return text if len(whole) <= LARGEST_FILE and is_text(text) else b""


def catalog_texts(catalog: bytes) -> bytes:
    """Return the translations in a .mo file, one a line.

    Source: GNU gettext manual, "The Format of GNU MO Files".
    """
    _, _, number, _, table = struct.unpack_from("<5I", catalog)
    entries = struct.iter_unpack("<2I", catalog[table : table + 8 * number])
    texts = (catalog[start : start + length] for length, start in entries)
    return b"\n".join(texts).replace(b"\0", b"\n")  # \0 lies between forms of the plural


def is_text(utf8: bytes) -> bool:
    """Return whether bytes are UTF-8 without NUL."""
    try:
        utf8.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in utf8


def once(texts: Iterable[bytes]) -> Iterator[bytes]:
    """Give each text that is not empty the first time that it comes."""
    seen: set[bytes] = set()
    for text in texts:
        key = blake2b(text, digest_size=16).digest()
        if text and key not in seen:
            seen.add(key)
            yield text


def django_translations() -> Iterator[bytes]:
    """Give the translations of each language in Django's sources."""
    root = Path(str(distribution("django").locate_file("django")))
    for path in sorted(root.rglob("*.po")):
        if path.parts[-3] != "en":
            yield b"\n".join(re.findall(rb'(?m)^msgstr(?:\[\d\])? "(.+)"$', path.read_bytes()))


def joined(texts: Iterable[bytes], most: int) -> str:
    """Return texts one after the other, up to `most` bytes (and the rest of the last text)."""
    return b"".join(up_to(texts, most)).decode("utf-8", "replace").replace(END_OF_TEXT, "")


def up_to(texts: Iterable[bytes], most: int) -> Iterator[bytes]:
    """Give texts until they hold `most` bytes together."""
    size = 0
    for text in texts:
        yield text
        size += len(text)
        if size >= most:
            return
