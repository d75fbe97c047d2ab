from gpt2.generation.drafting import ALLOWANCE, LONGEST, Lookup, Thrift


def test_a_text_goes_on_as_it_did_after_the_latest_place_with_the_same_three_tokens() -> None:
    lookup = Lookup([1, 2, 3, 4, 5, 1, 2, 3, 6, 7])
    assert lookup.guess(3) == []  # 3, 6, 7 is new
    lookup.add([1, 2, 3])
    assert lookup.guess(3) == [6, 7, 1]
    assert lookup.guess(1) == [6]


def test_a_repeated_token_is_guessed_to_go_on() -> None:
    assert Lookup([9, 9, 9]).guess(5) == []
    assert Lookup([9, 9, 9, 9]).guess(5) == [9]


def test_fewer_tokens_than_a_key_give_no_guess() -> None:
    assert Lookup([]).guess(5) == Lookup([1, 2]).guess(5) == []


def test_wrong_guesses_take_no_more_than_their_allowance() -> None:
    thrift, extra = Thrift(), 0.3
    passes = 3000
    lost = 0.0
    for _ in range(passes):
        guessed = thrift.most(extra)
        lost += guessed * extra
        thrift.record(guessed, 0, extra)
    assert 0.5 * ALLOWANCE * passes < lost <= ALLOWANCE * passes + 1


def test_right_guesses_grow() -> None:
    thrift = Thrift()
    lengths = []
    for _ in range(6):
        lengths.append(thrift.most(0.1))
        thrift.record(lengths[-1], lengths[-1], 0.1)
    assert lengths == [3, 6, 12, LONGEST, LONGEST, LONGEST]


def test_a_success_pays_for_few_failures_alone() -> None:
    thrift = Thrift()
    for _ in range(100):
        thrift.record(15, 15, 0.1)
    failures = 0
    while guessed := thrift.most(0.5):
        thrift.record(guessed, 0, 0.5)
        failures += 1
    assert failures <= 4
