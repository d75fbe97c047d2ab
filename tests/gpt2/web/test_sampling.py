"""The page's temperature and top-k are those of generation."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from gpt2.generation.sampling import keep_top_k
from gpt2.visual.gallery.one_file import one_file

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_top_k_keeps_all_that_are_equal_to_the_last(browser_page: "Page", tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(one_file("gallery.js", "a", {}))
    browser_page.goto((tmp_path / "page.html").as_uri())
    logits = [1.0, 3.0, 2.0, 2.0, 2.0, -math.inf, 0.0]
    found = browser_page.evaluate(
        """async (listed) => {
            const { distribution, ranked } = await import("gpt2/sampling.js");
            const tokens = ranked(Float32Array.from(listed, (logit) => logit ?? -Infinity), 5);
            const { count, mass, probability } = distribution(tokens, 1, 2);
            const shares = [0, 1, 2, 3, 4].map(probability);
            return [tokens.ids, tokens.logits.length, count, shares, mass];
        }""",
        [None if logit == -math.inf else logit for logit in logits],
    )
    kept = keep_top_k(torch.tensor([logits]), 2).softmax(dim=-1)[0]
    # Of equal ones the lowest id first, and none that has no token.
    assert found[:3] == [[1, 2, 3, 4, 0], 6, 4]
    np.testing.assert_allclose(found[3], kept[[1, 2, 3, 4, 0]].numpy(), rtol=1e-6)
    total = sum(math.exp(logit - 3) for logit in logits)
    assert found[4] == pytest.approx((1 + 3 * math.exp(-1)) / total)
