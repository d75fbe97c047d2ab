"""What holds for the flags of every verb."""

from pathlib import Path

import pytest

from gpt2.cli.generate import Generate
from gpt2.cli.main import main
from gpt2.cli.model_flags import ModelFlags
from gpt2.cli.parsing import parse
from gpt2.cli.train import Train
from gpt2.config import GenerationConfig


@pytest.mark.parametrize(
    ("args", "flag"),
    [
        (["generate", "a", "--model", "x", "--model", "y"], "--model"),
        (["generate", "a", "--top-k=1", "--top-k", "2"], "--top-k"),
        (["generate", "a", "--top-k", "1", "--top_k", "2"], "--top-k"),
        (["generate", "a", "--compile", "--no-compile"], "--compile"),
        (["generate", "a", "--json", "--json"], "--json"),
        (["generate", "a", "--attention-blocks", "0", "--attention-blocks", "1"], "--attention-bl"),
        (["eval", "perplexity", "--data", "a", "--data", "a"], "--data"),
        (["plot", "positions", "--seed", "1", "--seed", "1"], "--seed"),
        (["export", "--out", "a", "--out=b"], "--out"),
        (["bench", "attention", "--rows", "1", "--rows", "1"], "--rows"),
        (["prepare", "a.txt", "--out", "a", "--out", "b"], "--out"),
        (["demo", "--minutes", "1", "--minutes", "2"], "--minutes"),
        (["train", "--recipe", "demo", "--recipe", "fine-tune"], "--recipe"),
        (["train", "--recipe=demo", "--recipe=demo"], "--recipe"),
        (["train", "--resume", "a", "--resume", "b"], "--resume"),
        (["train", "--preset", "gpt2", "--model.preset", "gpt2-xl"], "--model.preset"),
        (["train", "--steps", "1", "--training.steps", "2"], "--training.steps"),
        (["train", "--compile", "--training.no-compile"], "--training.compile"),
        (["--verbose", "train", "--verbose"], "--verbose"),
    ],
    ids=str,
)
def test_a_flag_that_is_given_twice_is_an_error(
    args: list[str],
    flag: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(args) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {flag}")
    assert "is given twice" in told
    assert told.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_texts_after_two_dashes_are_no_flags(capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("--model", "--verbose", "--help"):
        assert main(["generate", "--model", "mis sing", "--", text]) == 1
        captured = capsys.readouterr()
        assert "no model at 'mis sing'" in captured.err
        assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    "blocks", [["0", "2"], ["0,2"], ["=0,2"], ["0,", "2"], ["0, 2"], ["0,2,"], ["=0", "2"]], ids=str
)
def test_lists_are_written_with_spaces_or_commas(blocks: list[str]) -> None:
    first, *rest = blocks
    for kind, flag in ((ModelFlags, "--attention-blocks"), (Train, "--training.attention-blocks")):
        start = [flag + first] if first.startswith("=") else [flag, first]
        command = parse(kind, [*start, *rest], verb="test")
        found = command if kind is ModelFlags else command.config.training
        assert found.attention_blocks == (0, 2)


def test_biases_and_stops_are_flags_of_several_values() -> None:
    args = [
        "--stop",
        "\n\n",
        "a, b",
        "--logit-bias",
        "5",
        "-100",
        "6",
        "1.5",
        "--stop-ids",
        "3",
        "4",
    ]
    for order in (["a prompt", *args], [*args, "--", "a prompt"]):
        found = parse(Generate, order, verb="generate")
        assert found.prompt == "a prompt"
        assert found.sampling == GenerationConfig(
            stop=("\n\n", "a, b"), logit_bias={5: -100.0, 6: 1.5}, stop_ids=(3, 4)
        )


def test_commas_elsewhere_stay(capsys: pytest.CaptureFixture[str]) -> None:
    args = ["generate", "--attention-blocks", "0,1", "--model", "1,2", "--", "3,4"]
    assert main(args) == 1
    assert "no model at '1,2'" in capsys.readouterr().err
    assert main(["generate", "a", "--attention-blocks", "0,x"]) == 2
    assert "--attention-blocks must be whole numbers" in capsys.readouterr().err


@pytest.mark.parametrize(
    "args",
    [
        ["generate", "a", "--top-k", "x" * 10**5],
        ["generate", "a", "--model", "x" * 10**5],
        ["generate", "a", "--model", "x " * 50_000],
        ["fly" * 10**5],
        ["plot", "x" * 10**5],
        ["--" + "x" * 10**5],
        ["eval", "perplexity", "--data", "x" * 10**5],
        ["train", "--recipe", "x" * 10**5],
        ["train", "--" + "x" * 10**5],
        ["train", "--data.directory", "x/" * 10**5],
    ],
    ids=range(10),
)
def test_long_values_are_cited_in_part(
    args: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(args) in (1, 2)
    told = capsys.readouterr().err
    assert len(told) < 10_000
    assert told.count("\n") == 1
