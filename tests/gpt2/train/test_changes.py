from gpt2.config import RunConfig
from gpt2.train.changes import ALWAYS_ALLOWED, NEVER_ALLOWED


def test_what_a_run_may_change_are_settings_that_exist() -> None:
    known = RunConfig.names()
    assert known > ALWAYS_ALLOWED
    assert known > NEVER_ALLOWED
    assert not any(name.startswith(("model.", "optimizer.")) for name in ALWAYS_ALLOWED)
    assert not ALWAYS_ALLOWED & NEVER_ALLOWED
