"""Arrays in the page: what Python packs, JavaScript reads."""

import base64
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from gpt2.visual.gallery.one_file import one_file
from gpt2.visual.gallery.packed import PackedType, pack

if TYPE_CHECKING:
    from playwright.sync_api import Page

READ = """async (packed) => {
    const { unpack, part } = await import("gpt2/packed.js");
    const array = unpack(packed);
    return [array.shape, Array.from(array.values), Array.from(part(array, 1).values)];
}"""


def test_bytes_are_evenly_spaced_from_the_lowest_to_the_highest() -> None:
    packed = pack(np.array([-1.0, 0.0, 4.1]), "uint8")
    assert packed == {
        "type": "uint8",
        "shape": [3],
        "low": -1.0,
        "high": 4.1,
        "base64": "ADL/",  # 0, 50 and 255
    }


def test_equal_values_and_no_values_are_packed_as_bytes() -> None:
    assert pack(torch.full((2,), 7.0), "uint8") == {
        "type": "uint8",
        "shape": [2],
        "low": 7.0,
        "high": 7.0,
        "base64": "AAA=",
    }
    assert pack(np.zeros((0, 3)), "uint8")["base64"] == ""


def test_what_is_not_finite_becomes_the_nearest_byte() -> None:
    packed = pack(np.array([np.nan, -np.inf, 1.0, 2.0, np.inf]), "uint8")
    assert (packed["low"], packed["high"]) == (1.0, 2.0)
    assert list(base64.b64decode(packed["base64"])) == [0, 0, 0, 255, 255]


@pytest.mark.parametrize("kind", ["float32", "float16", "uint8", "int32"])
def test_javascript_reads_what_python_packs(
    kind: PackedType, browser_page: "Page", tmp_path: Path
) -> None:
    values = np.array([[-6e-8, 1.0, -2.0], [1 / 3, 65504.0, 1e9]], np.float32)
    packed = pack(values, kind)
    (tmp_path / "page.html").write_text(one_file("gallery.js", "a", {}))
    browser_page.goto((tmp_path / "page.html").as_uri())

    shape, read, second_row = browser_page.evaluate(READ, packed)

    step = (1e9 + 2.0) / 255
    expected = {
        "float32": values,
        "float16": [[-(2.0**-24), 1.0, -2.0], [np.float16(1 / 3), 65504.0, np.inf]],
        "uint8": np.rint((values + 2.0) / step) * step - 2.0,
        "int32": values.astype(np.int32),
    }[kind]
    assert shape == [2, 3]
    np.testing.assert_allclose(np.reshape(read, (2, 3)), expected, rtol=1e-6, atol=0)
    assert second_row == read[3:]
