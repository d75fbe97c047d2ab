import pytest

from gpt2.errors import InputError
from gpt2.visual.window import Window, parse_window, within


@pytest.mark.parametrize(
    ("text", "window"),
    [("0:300", (0, 300)), (":", (None, None)), ("7:", (7, None)), (" :9 ", (None, 9))],
)
def test_a_window_is_start_and_stop_of_which_either_may_be_left_out(
    text: str, window: Window
) -> None:
    assert parse_window("--rows", text) == window


@pytest.mark.parametrize("text", ["", "5", "1:2:3", "-3:", "a:b", "1,2", "0:" + "9" * 5000])
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--rows must be START:STOP, such as 0:300"):
        parse_window("--rows", text)


@pytest.mark.parametrize(
    ("window", "drawn"),
    [
        (None, (0, 300)),
        ((None, None), (0, 768)),
        ((700, None), (700, 768)),
        ((None, 2), (0, 2)),
        ((767, 768), (767, 768)),
    ],
)
def test_a_window_is_of_the_first_300_unless_asked_for(
    window: Window | None, drawn: tuple[int, int]
) -> None:
    assert within(window, "rows", "wpe.weight", (768, 20), axis=0) == drawn
    assert within(None, "columns", "wpe.weight", (768, 20), axis=1) == (0, 20)


@pytest.mark.parametrize("window", [(0, 769), (5, 5), (6, 5), (768, None), (900, 1000)])
def test_a_window_beyond_the_tensor_is_refused_with_its_shape(window: Window) -> None:
    with pytest.raises(InputError, match=r"rows must be .* <= 768, since w is 768 x 20, got \d+:"):
        within(window, "rows", "w", (768, 20), axis=0)
