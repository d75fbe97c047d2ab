import io
import os
import re
import shlex
import subprocess
import sys
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from llm_tokenizer import text_files
from llm_tokenizer.cli import main

ROOT = Path(__file__).parents[1]


def read_from(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))


def test_encode_prints_ids_and_decode_turns_them_back(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "text.txt"
    text.write_bytes("Hello, wörld\r\n".encode())
    assert main(["encode", str(text)]) == 0
    ids = capfdbinary.readouterr().out
    assert ids == b"15496, 11, 266, 30570, 335, 201, 198\n".replace(b",", b"")

    read_from(monkeypatch, ids)
    assert main(["decode"]) == 0
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == text.read_bytes()


def test_count_prints_the_number_of_tokens(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_from(monkeypatch, b"Hello, world")
    assert main(["count"]) == 0
    assert capsys.readouterr().out == "3\n"


def test_train_writes_a_vocabulary_that_the_other_verbs_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.txt").write_text("banana banana banana", encoding="utf-8")
    out = tmp_path / "vocabulary"
    assert (
        main(["train", str(tmp_path / "text.txt"), "--vocab-size", "270", "--out", str(out)]) == 0
    )
    read_from(monkeypatch, b"banana")
    assert main(["count", "--tokenizer", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1"


def test_a_file_read_in_parts_gives_the_output_of_the_whole(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("Hello, wörld\n it's  12 日本語" * 20, encoding="utf-8")
    outputs = {}
    for part_bytes in (7, 2**22):
        monkeypatch.setattr(text_files, "PART_BYTES", part_bytes)
        ids = tmp_path / f"{part_bytes}.ids"
        assert main(["encode", str(text)]) == 0
        sys.stdout.flush()
        ids.write_bytes(capfdbinary.readouterr().out)
        for args in (["decode", str(ids)], ["count", str(text)], ["show", str(text)]):
            assert main(args) == 0
        sys.stdout.flush()
        outputs[part_bytes] = (ids.read_bytes(), capfdbinary.readouterr().out)
    assert outputs[7] == outputs[2**22]
    assert outputs[7][1].startswith(text.read_bytes())


SHOWN = {
    "text": "15496\tHello\n266\t w\n30570\tör\n10545\t \\xe6\n245\t\\x97\n98\t\\xa5\n"
    "198\t\\n\n27\t<\n",
    "html": '<span class="t0" title="15496">Hello</span><span class="t1" title="266"> w</span>'
    '<span class="t2" title="30570">ör</span><span class="t3" title="10545"> \\xe6</span>'
    '<span class="t4" title="245">\\x97</span><span class="t5" title="98">\\xa5</span>'
    '<span class="t0" title="198">\\n\n</span><span class="t1" title="27">&lt;</span></p>\n',
    "color": "Hello",
}


@pytest.mark.parametrize("shown_as", SHOWN)
def test_show_tells_the_tokens_apart(
    shown_as: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_from(monkeypatch, "Hello wör 日\n<".encode())
    assert main(["show", "--format", shown_as]) == 0
    out = capsys.readouterr().out
    if shown_as == "color":
        assert re.sub(r"\x1b\[[0-9;]*m", "", out) == "Hello wör \\xe6\\x97\\xa5\\n\n<"
        backgrounds = re.findall(r"48;5;(\d+)", out)
        assert all(one != next_one for one, next_one in pairwise(backgrounds))
    else:
        assert out.endswith(SHOWN[shown_as])


def test_show_does_not_let_the_text_drive_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_from(monkeypatch, b"\x1b[2J\x07\r\\n")
    assert main(["show", "--format", "text"]) == 0
    out = capsys.readouterr().out
    assert "\\x1b" in out
    assert not set(out) & set("\x1b\x07\r")


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"llm-tokenizer {version('llm-tokenizer')}\n"


@pytest.mark.parametrize(("args", "end"), [(["count"], "<&-"), (["count", "README.md"], ">&-")])
def test_a_closed_stream_is_told_in_one_line(args: list[str], end: str) -> None:
    command = f"{shlex.quote(sys.executable)} -m llm_tokenizer.cli {' '.join(args)} {end}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert re.fullmatch(r"error: cannot .* it is closed.*\n", done.stderr)


def test_show_works_where_the_output_is_not_utf8() -> None:
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(
        [sys.executable, "-m", "llm_tokenizer.cli", "show"],
        input="é ž".encode(),
        env=environment,
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"2634\t\xe9\n25370\t \\xc5\n122\t\\xbe\n"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["count", "missing.txt"], "missing.txt"),
        (["count", "--tokenizer", "missing"], "vocab.json: No such file"),
        (["decode"], "wanted token ids, whole numbers, got 'x'"),
    ],
)
def test_a_failure_is_one_line(
    args: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read_from(monkeypatch, b"1 x")
    assert main(args) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert told in error
    assert error.count("\n") == 1
