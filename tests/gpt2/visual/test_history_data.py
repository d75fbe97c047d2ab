"""What the page has of a run."""

import base64
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gpt2.files.pretrained import GPT2
from gpt2.visual.history_data import comparable, run_history
from gpt2.visual.moments import Moment, observe

ROWS: list[dict[str, Any]] = [
    {"step": 1, "loss": 5.123456789, "tokens": 32, "training_seconds": 36.0},
    {"step": 2, "loss": 4.5, "tokens": 64, "training_seconds": 72.0},
    {"step": 2, "val_loss": 4.75},
]


@pytest.fixture
def moments(model: GPT2) -> list[Moment]:
    first = observe(model, [5, 6, 7], step=0, tokens=0)
    with torch.no_grad():
        model.wpe.weight.mul_(3)
    return [first, observe(model, [5, 6, 7], step=2, tokens=64)]


def unpacked(packed: dict[str, Any]) -> np.ndarray:
    values = np.frombuffer(base64.b64decode(packed["base64"]), packed["type"])
    values = values.reshape(packed["shape"])
    if packed["type"] != "uint8":
        return values
    return packed["low"] + values * (packed["high"] - packed["low"]) / 255


def test_a_run_has_its_losses_over_steps_tokens_and_hours() -> None:
    assert run_history([], ROWS) == {
        "loss": {
            "step": [1, 2],
            "tokens": [32.0, 64.0],
            "hours": [0.01, 0.02],
            "loss": [5.1235, 4.5],
            "val_step": [2],
            "val_loss": [4.75],
        }
    }


def test_nothing_is_known_of_a_model_that_is_no_run() -> None:
    assert run_history([], []) is None


def test_moments_are_packed_with_the_numbers_of_the_model(
    model: GPT2, moments: list[Moment]
) -> None:
    data = run_history(moments, ROWS)
    assert data is not None
    json.dumps(data, allow_nan=False)
    last = moments[-1]
    assert [each["step"] for each in data["moments"]] == [0, 2]
    assert data["moments"][1]["sample"] == last.sample
    assert data["moments"][1]["prompt"] == "&'("
    assert data["tokens"] == ["&", "'", "("]
    assert (data["blocks"], data["heads"]) == ([0, 1, 2], [0, 1, 2, 3])
    positions = unpacked(data["positions"])
    assert np.array_equal(positions[1], model.wpe.weight[:, data["channels"]].detach().numpy().T)
    assert np.allclose(positions[1], 3 * positions[0])
    attention = unpacked(data["attention"])
    assert attention.shape == (2, 3, 4, 6)  # of each map the lower triangle, row after row
    expected = last.attention.float().numpy()[:, :, [0, 1, 1, 2, 2, 2], [0, 0, 1, 0, 1, 2]]
    assert np.abs(attention[1] - expected).max() <= 0.5 / 255 + 1e-6
    weights, true = unpacked(data["weights"][1]), last.weights.float().numpy()
    assert weights.shape == (20, 60)
    assert np.abs(weights - true).max() <= 0.51 * np.ptp(true) / 255


def test_moments_of_another_text_are_left_out(moments: list[Moment]) -> None:
    other = replace(moments[0], ids=[1, 2, 3])
    assert comparable([other, *moments]) == moments
    assert comparable([*moments, other]) == [other]
    assert comparable([]) == []


def test_a_diverged_run_is_strict_json(moments: list[Moment]) -> None:
    bad = replace(moments[1], weights=torch.full_like(moments[1].weights, float("nan")))
    data = run_history([moments[0], bad], [{"step": 1, "loss": None}])
    json.dumps(data, allow_nan=False)
