import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2.prepare.hold_out import held_out


@given(st.integers(0, 3000), st.floats(0.001, 0.5), st.integers(0, 2**63 - 1))
def test_every_stretch_holds_its_share_out(count: int, share: float, seed: int) -> None:
    held = held_out(np.arange(count), share, seed)
    # One of every stratum of 1 / share documents, of which the last may be cut short.
    assert abs(held.sum() - count * share) <= 1 + (count > 1)
    begun = [held[:stop].sum() - stop * share for stop in range(count)]
    assert max(map(abs, begun), default=0) <= 2


def test_the_choice_depends_on_number_and_seed_alone() -> None:
    whole = held_out(np.arange(1000), 0.1, seed=7)
    parts = [held_out(np.arange(k, k + 37), 0.1, seed=7) for k in range(0, 1000, 37)]
    assert np.concatenate(parts)[:1000].tolist() == whole.tolist()
    assert held_out(np.arange(1000), 0.1, seed=8).tolist() != whole.tolist()


def test_the_places_within_a_stratum_are_all_drawn_alike() -> None:
    held = np.flatnonzero(held_out(np.arange(200_000), 0.1, seed=3))[1:]
    counts = np.bincount(held % 10, minlength=10)
    assert abs(counts - 2000).max() < 5 * np.sqrt(2000)  # five standard deviations


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9])
def test_of_the_first_two_documents_the_second_is_held_out(share: float) -> None:
    assert held_out(np.arange(2), share, seed=0).tolist() == [False, True]


def test_no_share_holds_nothing_out() -> None:
    assert not held_out(np.arange(100), 0.0, seed=0).any()
