"""`gpt2 export`: what it writes, and what it leaves alone."""

import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
import transformers

from gpt2.cli.main import main
from gpt2.files.pretrained import GPT2


@pytest.fixture
def stored(model: GPT2, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_export_writes_what_transformers_and_llama_cpp_open(
    model: GPT2, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.save_pretrained(tmp_path / "model")
    command = ["export", "--model", str(tmp_path / "model"), "--out"]

    assert main([*command, str(tmp_path / "half"), "--dtype", "bfloat16"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'half'}\n"
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "half")
    assert theirs.dtype == torch.bfloat16
    ids = transformers.AutoTokenizer.from_pretrained(tmp_path / "half")("Permission").input_ids
    assert ids == model.tokenizer.encode("Permission")

    assert main([*command, str(tmp_path / "model.gguf"), "--format", "gguf"]) == 0
    assert (tmp_path / "model.gguf").read_bytes().startswith(b"GGUF")

    (tmp_path / "empty").mkdir()
    for taken in ("half", "model.gguf", "empty"):
        flags = ["--format", "gguf"] if taken == "empty" else []
        assert main([*command, str(tmp_path / taken), *flags]) == 1
        assert f"{taken} is there already; choose another --out" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["int8", "int4"])
def test_export_quantizes_and_the_other_verbs_run_what_it_wrote(
    form: str, stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / form
    assert main(["export", "--model", str(stored), "--out", str(out), "--format", form]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert GPT2.from_pretrained(out).quantization == form
    (tmp_path / "text.txt").write_text("Permission is hereby granted")
    image = str(tmp_path / "image.png")
    for command in (
        ["generate", "Permission", "--max-new-tokens", "2", "--dtype", form],
        ["eval", "perplexity", "--data", str(tmp_path / "text.txt")],
        ["plot", "weights", "--out", image],
        ["plot", "positions", "--out", image, "--force"],
        ["plot", "attention", "--text", "Permission", "--out", image, "--force"],
    ):
        assert main([*command, "--model", str(out)]) == 0


@pytest.mark.parametrize("form", ["hugging-face", "gguf", "int8", "int4"])
def test_what_is_quantized_is_not_exported_again(
    form: str, stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quantized, again = tmp_path / "quantized", tmp_path / "again"
    main(["export", "--model", str(stored), "--out", str(quantized), "--format", "int8"])
    command = ["export", "--model", str(quantized), "--out", str(again), "--format", form]
    assert main(command) == 1
    told = capsys.readouterr().err
    assert "quantized to int8" in told
    assert "that it was made from" in told
    assert told.count("\n") == 1
    assert not again.exists()


def test_a_dtype_of_quantized_weights_is_refused(
    stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", "--model", str(stored), "--out", str(tmp_path / "out"), "--dtype"]
    assert main([*command, "bfloat16", "--format", "int8"]) == 1
    assert "leave out --dtype, got bfloat16" in capsys.readouterr().err
    assert (
        main(["export", "--model", str(stored), "--out", str(tmp_path / "q"), "--format", "int4"])
        == 0
    )
    ran = [
        "eval",
        "perplexity",
        "--data",
        str(stored / "merges.txt"),
        "--model",
        str(tmp_path / "q"),
    ]
    assert main([*ran, "--dtype", "bfloat16"]) == 1
    assert "runs in float32 alone, got the dtype bfloat16" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["copy.json", "copy.tiktoken", "copy.gguf", ".hidden", "a b"])
def test_a_directory_may_have_any_name(
    name: str, stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--model", str(stored), "--out", str(tmp_path / name)]) == 0
    written = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
    assert written == {path.name: path.read_bytes() for path in stored.iterdir()}
    assert {path.name for path in tmp_path.iterdir()} == {"model", name}
    copy = GPT2.from_pretrained(tmp_path / name)
    assert copy.tokenizer.fingerprint == GPT2.from_pretrained(stored).tokenizer.fingerprint


def test_an_empty_directory_is_filled_and_stays_the_same_one(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    before = (tmp_path / "empty").stat().st_ino
    monkeypatch.chdir(tmp_path / "empty")
    assert main(["export", "--model", str(stored), "--out", "."]) == 0
    assert (tmp_path / "empty").stat().st_ino == before
    assert {path.name for path in stored.iterdir()} == {path.name for path in Path().iterdir()}
    for out in ("link", "empty"):
        assert main(["export", "--model", str(stored), "--out", str(tmp_path / out)]) == 1


def test_force_replaces_a_model_and_keeps_what_is_none_of_it(
    stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["export", "--model", str(stored), "--out", str(out), "--dtype"]
    assert main([*command, "float32"]) == 0
    (out / "README.md").write_text("notes")
    (out / "tokenizer.json").write_text("of another model")
    assert main([*command, "bfloat16"]) == 1
    assert "out is there already; choose another --out, or replace it with --force" in (
        capsys.readouterr().err
    )
    assert main([*command, "bfloat16", "--force"]) == 0
    assert GPT2.from_pretrained(out).wte.weight.dtype == torch.bfloat16
    assert (out / "README.md").read_text() == "notes"
    assert not (out / "tokenizer.json").exists()

    gguf = ["export", "--model", str(stored), "--format", "gguf", "--out", str(tmp_path / "a.gguf")]
    (tmp_path / "a.gguf").write_text("old")
    assert main(gguf) == 1
    assert main([*gguf, "--force"]) == 0
    assert (tmp_path / "a.gguf").read_bytes().startswith(b"GGUF")


@pytest.mark.parametrize("file", ["config.toml", "checkpoints", "training_state.json"])
def test_force_replaces_no_run_and_no_checkpoint(
    file: str, stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / file).touch()
    out = str(tmp_path / "run")
    assert main(["export", "--model", str(stored), "--out", out, "--force"]) == 1
    assert "belongs to a run; choose another --out" in capsys.readouterr().err


def test_a_file_is_no_directory_to_write(
    stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    for name in ("file", "dangling"):
        assert main(["export", "--model", str(stored), "--out", str(tmp_path / name)]) == 1
        assert f"{name} is there already; choose another --out" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.skipif(sys.platform == "win32", reason="files have no limit there")
@pytest.mark.parametrize("place", ["new", "empty", "a.json", "model.gguf"])
def test_a_full_disk_leaves_nothing_and_the_retry_works(
    place: str, stored: Path, tmp_path: Path
) -> None:
    out = tmp_path / place
    if place == "empty":
        out.mkdir()
    args = ["export", "--model", str(stored), "--out", str(out)]
    args += ["--format", "gguf"] * (place == "model.gguf")
    limited = subprocess.run(
        [sys.executable, "-m", "gpt2", *args],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=partial(_limit_files, 20_000),  # the vocabulary fits, the weights do not
    )
    assert limited.returncode == 1
    assert limited.stderr.startswith("error: could not write ")
    assert limited.stderr.count("\n") == 1
    assert "File too large" in limited.stderr or "is the disk full?" in limited.stderr
    left = {"model", "empty"} if place == "empty" else {"model"}
    assert {path.name for path in tmp_path.iterdir()} == left
    assert place != "empty" or not list(out.iterdir())
    assert main(args) == 0


def test_what_a_killed_export_left_is_in_nobodys_way(stored: Path, tmp_path: Path) -> None:
    (tmp_path / "empty" / ".partial").mkdir(parents=True)
    (tmp_path / "empty" / ".partial" / "model.safetensors").touch()
    (tmp_path / ".new.partial").mkdir()
    for name in ("empty", "new"):
        assert main(["export", "--model", str(stored), "--out", str(tmp_path / name)]) == 0
        files = {path.name for path in (tmp_path / name).iterdir()}
        assert files == {path.name for path in stored.iterdir()}
    assert not (tmp_path / ".new.partial").exists()


def _limit_files(size: int) -> None:
    """Let no file grow beyond a size, as if the disk were full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
