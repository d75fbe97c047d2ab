"""A text for everybody: the documentation that ships with Python, taken from its source."""

import ast
import pydoc_data.topics
import sysconfig
from collections.abc import Iterable
from pathlib import Path

# Not part of the library that its documentation describes: tests, and packages installed beside it.
NOT_THE_LIBRARY = {"test", "tests", "idle_test", "site-packages", "dist-packages", "pydoc_data"}


def stdlib_docs() -> list[str]:
    """Return the documentation that ships with every Python, the same for the same Python.

    One document a topic of the language reference and one a module of the standard library, which
    holds the module's docstrings; modules are parsed, never imported. A paragraph that has come up
    before is left out: topics contain each other, and modules repeat docstrings. Without that, text
    held out for evaluation would be in the training text too.
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
