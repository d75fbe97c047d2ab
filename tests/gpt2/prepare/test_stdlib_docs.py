from pathlib import Path

import pytest

from gpt2.prepare.stdlib_docs import docstrings, stdlib_docs


def test_docstrings_are_parsed_and_never_run(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        '"""Module."""\nraise SystemExit\nclass A:\n    """Class.\n\n    More."""\n'
        '    def f(self):\n        """Method."""\n    x = """no docstring"""\n'
    )
    assert docstrings(module) == "Module.\n\nClass.\n\nMore.\n\nMethod."


@pytest.mark.parametrize("content", [b"print 'Python 2'", b"\xff", b"x = '\0'", b""])
def test_a_file_that_does_not_parse_has_no_docstrings(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "module.py").write_bytes(content)
    assert docstrings(tmp_path / "module.py") == ""


def test_the_text_that_ships_with_python_is_prose_in_many_documents_without_repeats() -> None:
    documents = stdlib_docs()
    assert len(documents) > 300
    assert sum(map(len, documents)) > 1_000_000
    paragraphs = [p for document in documents for p in document.rstrip("\n").split("\n\n")]
    assert len({" ".join(p.split()) for p in paragraphs}) == len(paragraphs)
    assert any('The "if" statement is used for conditional execution' in d for d in documents)
    assert any("Parse a file into an ElementTree" in d or "argparse" in d for d in documents)
