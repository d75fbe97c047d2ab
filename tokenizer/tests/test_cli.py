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

from llm_tokenizer import Tokenizer, text_files
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


def explained(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert main(["explain", *args]) == 0
    return capsys.readouterr().out


def test_explain_takes_a_text_or_words_or_stdin(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = explained(capsys, "Hello, world")
    assert "\n   15496 11 995\n" in expected
    for args in (["Hello,", "world"], ["--format", "text", "Hello,", "world"], ["-"], []):
        read_from(monkeypatch, b"Hello, world")
        assert explained(capsys, *args) == expected


def test_explain_takes_the_flags_of_the_other_verbs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Tokenizer.train(["abab"] * 2, 300).save(tmp_path / "v")
    text = "abab<|endoftext|>"
    out = explained(capsys, text, "--tokenizer", str(tmp_path / "v"), "--allow-special")
    assert "\n   257 258\n" in out
    assert "27 91 437 1659 5239 91 29\n" in explained(capsys, text)
    assert explained(capsys, text, "--format", "html").startswith("<!doctype html>\n")
    assert "\x1b[1m" in explained(capsys, text, "--format", "color")


def test_an_empty_text_is_explained_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    assert explained(capsys, "") == "the text is empty: no pieces, no tokens\n"


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


@pytest.mark.parametrize("args", [["count", "\x1b[2J"], ["count", "", "\x1b[2J"]])
def test_a_failure_holds_nothing_that_a_terminal_acts_on(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        main(args)
    except SystemExit as wrong_usage:
        assert wrong_usage.code == 2
    error = capsys.readouterr().err
    assert r"\x1b[2J" in error
    assert "\x1b" not in error


def test_gpt2_is_the_bundled_vocabulary_and_a_dash_is_stdin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Tokenizer.train(["abab"] * 2, 300).save(tmp_path / "gpt2")
    (tmp_path / "-").write_bytes(b"abab")
    monkeypatch.chdir(tmp_path)
    outputs = []
    for args in (["-"], ["-", "--tokenizer", "gpt2"], ["./-", "--tokenizer", "./gpt2"]):
        read_from(monkeypatch, b"Hello, world")
        assert main(["encode", *args]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs == ["15496 11 995\n", "15496 11 995\n", "257\n"]


@pytest.mark.parametrize("part_bytes", [3, 2**22])
def test_special_tokens_of_a_text_become_their_ids_where_allowed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, part_bytes: int
) -> None:
    monkeypatch.setattr(text_files, "PART_BYTES", part_bytes)
    outputs = []
    for args in (["encode"], ["count"], ["show", "--format", "text"]):
        read_from(monkeypatch, b"Hello<|endoftext|> world")
        assert main([*args, "--allow-special"]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs == [
        "15496 50256 995\n",
        "3\n",
        "15496\tHello\n50256\t<|endoftext|>\n995\t world\n",
    ]
    read_from(monkeypatch, b"<|endoftext|>")
    assert main(["encode"]) == 0
    assert "50256" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "ids",
    [
        b"[15496, 11, 995]",
        b"[15496,11,995]\n",
        b"15496, 11, 995",
        b"[\n  15496,\n  11,\n  995\n]\n",
        b"[15496]\n[11, 995]\n",
        b"[15496 11 995]",
        b"\xef\xbb\xbf15496 11 995",
        b"[] 15496 11 995",
    ],
)
@pytest.mark.parametrize("part_bytes", [1, 2, 2**22])
def test_decode_takes_lists_as_json_and_python_write_them(
    capfdbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
    ids: bytes,
    part_bytes: int,
) -> None:
    monkeypatch.setattr(text_files, "PART_BYTES", part_bytes)
    read_from(monkeypatch, ids)
    assert main(["decode", "-"]) == 0
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == b"Hello, world"


@pytest.mark.parametrize("wrong", [b"[1.5]", b'["a"]', b"[-1]", b"{1}", b"x" * 10**6, b"9" * 10**6])
def test_what_is_no_id_is_named_in_a_short_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, wrong: bytes
) -> None:
    read_from(monkeypatch, wrong)
    assert main(["decode"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: wanted token ids, whole numbers, got '")
    assert len(error) < 300


@pytest.mark.parametrize(
    "args",
    [
        ["count", "--tokenizer", "gpt2", "--tokenizer", "gpt2"],
        ["count", "--tokenizer=a", "--tok", "b"],
        ["encode", "--allow-special", "--allow-special"],
        ["show", "--format", "text", "x", "--format=html"],
        ["explain", "--format", "text", "x", "--format=html"],
        ["train", "x", "--vocab-size", "300", "--out", "a", "--out", "b"],
        ["train", "x", "--out", "a", "--vocab-size", "300", "--vocab-size", "300"],
        ["train", "x", "--out", "a", "--vocab-size", "300", "--force", "--force"],
    ],
)
def test_a_flag_given_twice_is_wrong_usage(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(args)
    assert exit_.value.code == 2
    assert re.search(r"error: argument --[a-z-]+: given twice", capsys.readouterr().err)


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "llm_tokenizer", "count", "-"],
        input=b"Hello, world",
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"3\n"
    version_ = [sys.executable, "-m", "llm_tokenizer", "--version"]
    assert subprocess.run(version_, capture_output=True, check=True).stdout.startswith(b"llm-tok")


INTERRUPTED = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
sys.argv = ["llm-tokenizer", "count", "README.md"]
from llm_tokenizer.cli import main  # as the installed script does
sys.exit(main())
"""


@pytest.mark.parametrize(
    "module",
    ["argparse", "llm_tokenizer.verbs", "llm_tokenizer.tokenizer", "llm_tokenizer.unicode_classes"],
)
def test_ctrl_c_while_the_modules_load_ends_without_a_traceback(module: str) -> None:
    code = INTERRUPTED.format(module=module)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (130, b"")


def run_in_shell(args: str, unbuffered: str) -> "subprocess.CompletedProcess[str]":
    command = f"{shlex.quote(sys.executable)} -m llm_tokenizer {args}"
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    return subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, cwd=ROOT, env=environment
    )


def test_ctrl_c_is_caught_from_the_first_import_on() -> None:
    code = (
        "import sys; before = set(sys.modules); import llm_tokenizer.cli;"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "['llm_tokenizer', 'llm_tokenizer.cli']\n"


@pytest.mark.parametrize(
    "args",
    ["count README.md", "encode README.md", "show README.md", "explain x", "--version", "--help"],
)
@pytest.mark.parametrize("end", [">&-", ">/dev/full"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_stdout_that_takes_nothing_is_an_error_of_one_line(
    args: str, end: str, unbuffered: str
) -> None:
    if end == ">/dev/full" and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    done = run_in_shell(f"{args} {end}", unbuffered)
    assert done.returncode == 1
    assert re.fullmatch(r"error: cannot write to stdout: .*\n", done.stderr)


@pytest.mark.parametrize(
    ("args", "code", "out"),
    [
        ("count README.md", 0, r"\d+\n"),
        ("count missing.txt", 1, ""),
        ("count --unknown", 2, ""),
        ("", 2, ""),
        ("--version", 0, r"llm-tokenizer .*\n"),
    ],
)
@pytest.mark.parametrize("end", ["2>&-", "2>/dev/full"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_stderr_that_takes_nothing_changes_neither_the_exit_code_nor_stdout(
    args: str, code: int, out: str, end: str, unbuffered: str
) -> None:
    if end == "2>/dev/full" and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    done = run_in_shell(f"{args} {end}", unbuffered)
    assert done.returncode == code
    assert re.fullmatch(out, done.stdout)
    assert done.stderr == ""
