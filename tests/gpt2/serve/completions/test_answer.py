"""What an answer holds, from tokens and log-probabilities made by hand."""

import math

from gpt2.generation.log_probabilities import Token
from gpt2.serve.completions.answer import LogProbabilities, api_finish_reason, joined, usage
from gpt2.serve.completions.token_strings import TokenStrings

H, EYE, HE, SUN, REST = 104, 105, 257, 0xE6, 258  # of the fixture `strings`


def test_drawn_tokens_have_their_values_their_rivals_and_their_places(
    strings: TokenStrings,
) -> None:
    first = Token(HE, -0.5, ((HE, -0.5), (EYE, -1.5)))
    second = Token(H, -7.0, ((EYE, -0.25),))  # it was unlikely: the list has it all the same

    assert LogProbabilities(strings).of_tokens([first, second]) == {
        "tokens": [" he", "h"],
        "token_logprobs": [-0.5, -7.0],
        "top_logprobs": [{" he": -0.5, "i": -1.5}, {"i": -0.25, "h": -7.0}],
        "text_offset": [0, 3],
    }


def test_parts_go_on_where_the_last_one_ended(strings: TokenStrings) -> None:
    drawn = [Token(HE, -0.5), Token(SUN, -1.0), Token(REST, -2.0), Token(EYE, -3.0)]
    whole, parts = LogProbabilities(strings), LogProbabilities(strings)

    listed = [parts.of_tokens(drawn[:2]), parts.of_tokens([]), parts.of_tokens(drawn[2:])]

    assert joined(*listed) == whole.of_tokens(drawn)
    assert joined(*listed)["text_offset"] == [0, 3, 3, 4]


def test_an_echoed_prompt_begins_with_a_token_of_which_nothing_is_known(
    strings: TokenStrings,
) -> None:
    listed = LogProbabilities(strings)

    prompt = listed.of_prompt([HE, EYE], [Token(EYE, -0.75, ((H, -0.5),))])
    new = listed.of_tokens([Token(H, -1.0)])

    assert prompt == {
        "tokens": [" he", "i"],
        "token_logprobs": [None, -0.75],
        "top_logprobs": [None, {"h": -0.5, "i": -0.75}],
        "text_offset": [0, 3],
    }
    assert (new["token_logprobs"], new["text_offset"]) == ([-1.0], [4])


def test_a_prompt_that_was_not_read_has_nothing_but_its_tokens(strings: TokenStrings) -> None:
    listed = LogProbabilities(strings).of_prompt([HE, EYE], [])

    assert listed["tokens"] == [" he", "i"]
    assert listed["token_logprobs"] == listed["top_logprobs"] == [None, None]


def test_tokens_may_be_written_by_their_ids(strings: TokenStrings) -> None:
    listed = LogProbabilities(strings, shows_ids=True).of_tokens([Token(H, -1.0, ((EYE, -0.5),))])

    assert listed["tokens"] == ["token_id:104"]
    assert listed["top_logprobs"] == [{"token_id:105": -0.5, "token_id:104": -1.0}]


def test_a_token_that_cannot_come_has_a_number_that_json_can_hold(strings: TokenStrings) -> None:
    listed = LogProbabilities(strings).of_prompt([H, EYE], [Token(EYE, -math.inf, ((H, 0.0),))])

    assert listed["token_logprobs"] == [None, -9999.0]
    assert listed["top_logprobs"][1] == {"h": 0.0, "i": -9999.0}


def test_reasons_are_named_as_the_api_has_them() -> None:
    assert api_finish_reason("length", timed_out=True) == "length"
    assert api_finish_reason("stop", timed_out=True) == "stop"
    assert api_finish_reason("end_of_text", timed_out=False) == "stop"
    assert api_finish_reason("cancelled", timed_out=True) == "timeout"
    assert api_finish_reason("cancelled", timed_out=False) == "abort"


def test_prompts_count_once_however_many_texts_are_written() -> None:
    assert usage([[1, 2], [3]], 40) == {
        "prompt_tokens": 3,
        "completion_tokens": 40,
        "total_tokens": 43,
    }
