"""Where text comes from: each source is a list of documents."""

import ast
import pydoc_data.topics
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path

from gpt2.errors import DataError

# Not part of the library that its documentation describes: tests, and packages installed beside it.
NOT_THE_LIBRARY = {"test", "tests", "idle_test", "site-packages", "dist-packages", "pydoc_data"}


def stdlib_docs() -> list[str]:
    """Return the documentation that ships with every Python, the same for the same Python.

    One document a topic of the language reference and one a module of the standard library, which
    holds the module's docstrings; modules are parsed, never imported. A paragraph that has come up
    before is left out: topics contain each other, and modules repeat docstrings. Without that, text
    held out for evaluation would stand in the training text too.
    """
    topics = [text for _, text in sorted(pydoc_data.topics.topics.items())]
    library = Path(sysconfig.get_path("stdlib"))
    paths = (path.relative_to(library) for path in library.rglob("*.py"))
    modules = sorted(path.as_posix() for path in paths if not NOT_THE_LIBRARY & set(path.parts))
    return without_repeats([*topics, *(docstrings(library / module) for module in modules)])


def docstrings(path: Path) -> str:
    """Return the docstrings of a module, its classes and functions, if it parses."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return ""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = (ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, documented))
    return "\n\n".join(text for text in found if text)


def without_repeats(documents: Iterable[str]) -> list[str]:
    """Return the documents without paragraphs that came before, and without empty documents.

    >>> without_repeats(["a\\n\\nb", "b", "b\\n\\nc"])
    ['a\\n\\nb\\n', 'c\\n']
    """
    seen: set[str] = set()
    kept = []
    for document in documents:
        paragraphs = []
        for paragraph in document.split("\n\n"):
            words = " ".join(paragraph.split())
            if words and words not in seen:
                seen.add(words)
                paragraphs.append(paragraph.strip("\n").rstrip())
        if paragraphs:
            kept.append("\n\n".join(paragraphs) + "\n")
    return kept


def text_files(paths: Sequence[Path], separator: str | None = None) -> list[str]:
    """Return the texts of UTF-8 files: a document a file, or more where `separator` stands.

    Args:
        paths: Files, or folders, of which every .txt file is taken.
        separator: Text between two documents of a file; it belongs to neither.
    Raises:
        DataError: A path does not exist, a folder has no .txt file, or a file is empty or not text.
    """
    documents: list[str] = []
    for path in paths:
        files = sorted(path.rglob("*.txt")) if path.is_dir() else [path]
        if not files:
            raise DataError(f"{path} holds no .txt file")
        for file in files:
            text = read_text(file)
            parts = text.split(separator) if separator else [text]
            documents.extend(part for part in parts if part.strip())
    return documents


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file.

    Raises:
        DataError: The file does not exist, is empty, or is not text.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} must be UTF-8 text: byte {error.start} is not") from None
    if "\0" in text:
        raise DataError(f"{path} must be text: byte {content.index(0)} is NUL, as in binary files")
    if not text.strip():
        raise DataError(f"{path} is empty: wanted some text")
    return text
