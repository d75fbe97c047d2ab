import threading
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2.data.batches import Batches, RowOrder, TokenStream
from gpt2.errors import DataError


def test_a_row_is_the_inputs_and_one_more_token() -> None:
    stream = TokenStream([np.arange(13, dtype=np.uint16)], length=4)
    assert stream.rows == 3
    assert stream.read_rows([0, 2]).tolist() == [[0, 1, 2, 3, 4], [8, 9, 10, 11, 12]]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 7))
def test_shard_borders_do_not_show(lengths: list[int], length: int) -> None:
    tokens = np.arange(sum(lengths) + length + 1, dtype=np.uint16)
    borders = np.cumsum(lengths)
    stream = TokenStream(np.split(tokens, borders), length)
    whole = TokenStream([tokens], length)
    assert stream.rows == whole.rows
    for row in range(whole.rows):
        assert stream.read(row).tolist() == whole.read(row).tolist()


def test_too_little_text_is_told_with_both_lengths() -> None:
    with pytest.raises(DataError, match="one row needs 9 tokens, the held-out text has 8"):
        TokenStream([np.zeros(8, np.uint16)], 8, "held-out")


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=6),
    st.integers(1, 7),
    st.lists(st.integers(0, 10**6), max_size=9),
)
def test_several_rows_are_each_of_them(lengths: list[int], length: int, asked: list[int]) -> None:
    tokens = np.arange(sum(lengths) + length + 1, dtype=np.uint16)
    stream = TokenStream(np.split(tokens, np.cumsum(lengths)), length)
    rows = [row % stream.rows for row in asked]
    read = stream.read_rows(rows)
    assert read.dtype == np.int64
    assert read.shape == (len(rows), length + 1)
    assert read.tolist() == [stream.read(row).tolist() for row in rows]


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 5))
def test_an_epoch_reads_every_row_once(rows: int, batch_rows: int, seed: int) -> None:
    order = RowOrder(rows, batch_rows, seed)
    read = [row for step in range(-(-3 * rows // batch_rows)) for row in order.at(step)]
    for epoch in range(3):
        assert sorted(read[epoch * rows : (epoch + 1) * rows]) == list(range(rows))


def order_at(step: int, seed: int = 1) -> list[int]:
    return RowOrder(rows=50, batch_rows=7, seed=seed).at(step).tolist()


def test_a_step_reads_the_same_rows_whatever_was_read_before() -> None:
    order = RowOrder(rows=50, batch_rows=7, seed=1)
    forward = [order.at(step).tolist() for step in range(30)]
    assert [order.at(step).tolist() for step in reversed(range(30))] == forward[::-1]
    assert [order_at(step) for step in range(30)] == forward


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    first, second = (RowOrder(50, 50, seed=1).at(epoch).tolist() for epoch in (0, 1))
    assert first != second
    assert order_at(0, seed=2) != order_at(0, seed=1)


@pytest.fixture
def stream() -> TokenStream:
    """40 rows in three shards; each token is the number of its place."""
    return TokenStream(np.split(np.arange(161, dtype=np.uint16), [50, 97]), length=4)


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
@pytest.mark.parametrize("batch_rows", [8, 13])
def test_the_ranks_divide_the_rows_of_each_step(
    stream: TokenStream, ranks: int, batch_rows: int
) -> None:
    whole = Batches(stream, batch_rows, seed=5)
    parts = [Batches(stream, batch_rows, seed=5, rank=rank, ranks=ranks) for rank in range(ranks)]
    for step in range(9):
        rows = [row for part in parts for row in part.at(step).tolist()]
        assert rows == whole.at(step).tolist()
        assert len(rows) == batch_rows
        sizes = [len(part.at(step)) for part in parts]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("first", [0, 1, 4, 17])
def test_the_batches_after_a_restart_are_those_without(stream: TokenStream, first: int) -> None:
    whole = Batches(stream, 7, seed=5)
    expected = [whole.at(step).tolist() for step in range(25)]
    restarted = Batches(stream, 7, seed=5)
    assert [restarted.at(step).tolist() for step in range(first, 25)] == expected[first:]


def test_the_next_batch_is_read_ahead_by_a_thread(stream: TokenStream) -> None:
    read: list[tuple[list[int], str]] = []
    ahead = threading.Event()

    class Watched(TokenStream):
        def read_rows(self, rows: Any) -> Any:
            read.append((list(rows), threading.current_thread().name))
            if len(read) == 2:
                ahead.set()
            return super().read_rows(rows)

    batches = Batches(Watched(stream.shards, 4), 7, seed=5)
    batches.at(0)
    assert ahead.wait(10)  # without a second call
    assert read[1][0] == RowOrder(40, 7, 5).at(1).tolist()
    assert all(name != threading.main_thread().name for _, name in read)
    batches.close()


def test_the_order_of_an_epoch_takes_8_bytes_a_row() -> None:
    rows = 1_000_000
    order = RowOrder(rows, 512, seed=0)
    order.at(0)
    tracemalloc.start()
    order.at(rows // 512 + 1)  # the next epoch: the order before is let go first
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * rows + 100_000


def test_reading_rows_allocates_no_more_for_more_data(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    with path.open("wb") as file:
        file.truncate(2 * 50_000_000)
    tracemalloc.start()
    stream = TokenStream([np.memmap(path, "<u2", "r")], 1024)
    stream.read_rows(range(8))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 8 * 1025 * 8


def test_a_run_whose_batch_was_changed_reads_on_where_it_was() -> None:
    before = RowOrder(rows=10, batch_rows=4, seed=1)
    after = RowOrder(rows=10, batch_rows=3, seed=1, offset=2 * 4 - 2 * 3)  # changed after two steps
    rows = np.concatenate([before.at(0), before.at(1), after.at(2)])
    assert sorted(rows[:10]) == list(range(10))


def test_a_split_without_tokens_is_explained() -> None:
    with pytest.raises(DataError, match="no text is held out: .* --separator .* more documents"):
        TokenStream([], 8, "held-out")
    with pytest.raises(DataError, match="there is no training text: .* more text"):
        TokenStream([], 8)
