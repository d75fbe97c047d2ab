from gpt2.bench.limits import read_bandwidth


def test_the_bandwidth_is_in_bytes_a_second() -> None:
    # Slower than any memory since 1980, faster than any cache.
    assert 1e6 < read_bandwidth(2, array_bytes=2**22) < 1e14
