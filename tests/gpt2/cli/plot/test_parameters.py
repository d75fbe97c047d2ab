"""`gpt2 plot positions | weights | embeddings | norms`: what flags draw, and what they refuse."""

import json
from pathlib import Path
from typing import Any

import pytest

from gpt2.cli.main import main
from gpt2.files.pretrained import GPT2
from gpt2.model.quantized import quantize_network


@pytest.fixture
def saved(model: GPT2, tmp_path: Path) -> str:
    """The directory of a model, as a flag."""
    model.save_pretrained(tmp_path / "model")
    return f"--model={tmp_path / 'model'}"


def _numbers(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    assert main(["plot", *args, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("args", "written"),
    [
        (["positions"], "positions.png"),
        (["positions", "--channels", "3, 4,", "19"], "positions.png"),
        (["positions", "--similarity"], "position-similarity.png"),
        (["weights"], "weights.png"),
        (["weights", "--tensor=ln_f.bias", "--histogram"], "weights.png"),
        (["weights", "--block=2", "--head=1", "--histogram", "--singular-values"], "weights.png"),
        (["embeddings"], "embeddings.png"),
        (["norms", "--text", "Permission is"], "norms.png"),
    ],
    ids=str,
)
def test_a_picture_is_written(
    args: list[str],
    written: str,
    saved: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["plot", *args, saved]) == 0
    assert capsys.readouterr().out == f"{written}\n"
    assert Path(written).read_bytes().startswith(b"\x89PNG")


def test_positions_are_those_of_the_channels_or_of_the_seed(
    saved: str, model: GPT2, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = _numbers(capsys, "positions", saved, "--channels=3,19")
    assert numbers["channels"] == [3, 19]
    assert numbers["values"] == model.wpe.weight[:, [3, 19]].T.tolist()
    first, again, other = (
        _numbers(capsys, "positions", saved, f"--seed={seed}")["channels"] for seed in (5, 5, 6)
    )
    assert first == again != other
    similarity = _numbers(capsys, "positions", saved, "--similarity")
    assert [row[i] for i, row in enumerate(similarity["cosines"])] == [1.0] * 24


def test_a_window_of_any_tensor_can_be_had(
    saved: str, model: GPT2, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = _numbers(
        capsys, "weights", saved, "--tensor=h.1.mlp.c_proj", "--rows=70:", "--columns=2:4"
    )
    weight = model.block(1).mlp.c_proj.weight  # (outputs, inputs)
    assert numbers["tensor"] == "h.1.mlp.c_proj.weight"
    assert numbers["values"] == weight[2:4, 70:].T.tolist()
    assert (numbers["histogram"], numbers["singular_values"]) == (None, None)


def test_a_head_is_that_of_the_block_or_of_the_first(
    saved: str, model: GPT2, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags, block in (([], 0), (["--block=2"], 2), (["--tensor=h.1.attn.c_attn"], 1)):
        numbers = _numbers(capsys, "weights", saved, "--head=3", *flags)
        queries = model.block(block).attn.c_attn.weight[15:20].T
        assert [row[:5] for row in numbers["values"]] == queries.tolist()


def test_all_tensors_are_listed_with_their_shapes(
    saved: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plot", "weights", saved, "--list"]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["wte.weight", "300 x 20"]
    assert ["h.2.attn.c_attn.weight", "20 x 60"] in lines
    assert ["ln_f.bias", "20"] in lines
    shapes = _numbers(capsys, "weights", saved, "--list")
    assert len(shapes) == len(lines) == 4 + 3 * 12
    assert shapes["wpe.weight"] == [24, 20]


def test_a_quantized_model_is_drawn(
    model: GPT2, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quantize_network(model, 4)
    model.save_pretrained(tmp_path / "model")
    saved = f"--model={tmp_path / 'model'}"
    numbers = _numbers(capsys, "weights", saved, "--tensor=wte", "--rows=7:8")
    assert numbers["values"] == [model.wte.weight[7].tolist()]
    assert _numbers(capsys, "norms", saved, "--text=Permission is")["first"]


def test_the_tokens_of_a_list_or_of_a_text_are_drawn(
    saved: str, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = _numbers(capsys, "embeddings", saved, "--tokens", "a,b, the")
    assert numbers["tokens"] == ["a", "b", " the"]
    numbers = _numbers(capsys, "embeddings", saved, "--text", "abcabc")
    assert numbers["tokens"] == ["a", "b", "c"]
    assert len(_numbers(capsys, "embeddings", saved)["tokens"]) >= 3


def test_norms_are_those_of_the_tokens_of_the_text(
    saved: str, model: GPT2, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = _numbers(capsys, "norms", saved, "--text=abc")
    start = model.wte.weight[model.require_tokenizer().encode("abc")] + model.wpe.weight[:3]
    lengths = [numbers["first"][0], *numbers["others"][0]]
    assert lengths == pytest.approx(start.norm(dim=-1).tolist())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["positions", "--channels=20"], "channels must be 0 to 19 in this model, got [20]"),
        (["positions", "--similarity", "--channels=1"], "compares all channels"),
        (["positions", "--seed=-1"], "seed must be at least 0"),
        (["weights", "--tensor=c_atn"], "no tensor 'c_atn'; near it:"),
        (["weights", "--tensor=wte", "--block=0"], "--tensor names a block already"),
        (["weights", "--block=3"], "block must be 0 to 2 in this model, got 3"),
        (["weights", "--block=-1"], "block must be 0 to 2 in this model, got -1"),
        (["weights", "--head=4"], "head must be 0 to 3 in this model, got 4"),
        (["weights", "--tensor="], "the model has no tensor ''"),
        (
            ["positions", "--channels=1,,2"],
            "--channels must be whole numbers with commas or spaces",
        ),
        (["weights", "--rows=3"], "--rows must be START:STOP, such as 0:300"),
        (["weights", "--columns=0:61"], "since h.0.attn.c_attn.weight is 20 x 60, got 0:61"),
        (["embeddings", "--tokens=a,b"], "tokens must be 3 to 120 that differ"),
        (["embeddings", "--tokens=a,b,c", "--text=d"], "leave one out"),
        (["norms", "--text="], "the text must have 1 to 24 tokens"),
        (["norms"], "--text"),
    ],
    ids=str,
)
def test_what_cannot_be_drawn_is_one_line(
    args: list[str],
    message: str,
    saved: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["plot", *args, saved]) in (1, 2)
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("channels", ["3,7", "3 7", "3, 7,"])
def test_channels_have_commas_or_spaces_between(
    channels: str, saved: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _numbers(capsys, "positions", saved, f"--channels={channels}")["channels"] == [3, 7]
