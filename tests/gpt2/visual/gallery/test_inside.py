"""What the page knows of a text is what the model computes."""

import base64
import json
from typing import Any

import numpy as np
import pytest

from gpt2.files.pretrained import GPT2
from gpt2.visual.capture import record
from gpt2.visual.gallery import inside as module
from gpt2.visual.gallery.inside import inside


def unpacked(packed: dict[str, Any]) -> np.ndarray:
    values = np.frombuffer(base64.b64decode(packed["base64"]), np.dtype(packed["type"]))
    return values.reshape(packed["shape"])


def test_tensors_are_those_of_the_recording(model: GPT2) -> None:
    data = inside(model, "Permission is hereby granted")
    recording = record(model, data["ids"])
    np.testing.assert_array_equal(unpacked(data["queries"]), recording.queries)
    np.testing.assert_array_equal(unpacked(data["keys"]), recording.keys)
    np.testing.assert_allclose(unpacked(data["values"]), recording.values, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(unpacked(data["weights"])[2], recording.weights(2), atol=5e-4)
    np.testing.assert_array_equal(unpacked(data["logits"]["values"]), recording.logits)
    assert data["scales"] == recording.scales
    json.dumps(data, allow_nan=False)


def test_the_last_layer_of_the_lens_is_what_the_model_predicts(model: GPT2) -> None:
    data = inside(model, "the software")
    likeliest = record(model, data["ids"]).logits.softmax(dim=-1).topk(5)
    ids, probabilities = (unpacked(data["lens"][name]) for name in ("ids", "probabilities"))
    assert ids.shape == (model.config.n_layer + 1, len(data["ids"]), 5)
    np.testing.assert_array_equal(ids[-1], likeliest.indices)
    np.testing.assert_allclose(probabilities[-1], likeliest.values, rtol=1e-3)


def test_a_long_text_is_cut(model: GPT2) -> None:
    data = inside(model, "a b c d e f g h i j k l m n o p q r s t u v w x y z" * 9)
    assert len(data["ids"]) == len(data["tokens"]) == model.config.n_positions < data["length"]


def test_logits_of_as_many_last_positions_as_fit_are_kept(
    model: GPT2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOGITS_BYTES", 2 * 300 * 4 + 1)
    data = inside(model, "the software")
    assert data["logits"]["first"] == len(data["ids"]) - 2
    assert data["logits"]["values"]["shape"] == [2, 300]


def test_queries_and_keys_of_a_large_model_are_stored_in_half(
    model: GPT2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FLOAT32_BYTES", 1000)
    assert inside(model, "the software")["queries"]["type"] == "float16"


def test_ids_that_no_token_has_are_never_next(gapped_model: GPT2) -> None:
    logits = unpacked(inside(gapped_model, "the")["logits"]["values"])
    assert np.isneginf(logits[:, gapped_model.unused_ids]).all()
    assert np.isfinite(logits[:, :270]).all()
