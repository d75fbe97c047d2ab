import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from gpt2.train.interruption import TIME_IS_UP, InterruptedRunError, noted_interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_handlers_come_back(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    with noted_interruption() as interruption:
        assert interruption.reason == 0
        os.kill(os.getpid(), number)
        assert interruption.reason == number
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL  # so that the next one ends it
    assert signal.getsignal(number) == before
    assert "another Ctrl-C ends the run at once" in capfd.readouterr().err
    assert InterruptedRunError("", interruption.reason).exit_code == 128 + number


def test_the_end_of_the_hours_is_a_reason_and_no_failure() -> None:
    with noted_interruption(max_hours=100) as interruption:
        assert interruption.reason == 0
    with noted_interruption(max_hours=1e-15) as interruption:
        assert interruption.reason == TIME_IS_UP
    assert InterruptedRunError("", TIME_IS_UP).exit_code == 0


def test_a_second_sigterm_ends_nothing_as_one_request_may_send_two(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with noted_interruption() as interruption:
        os.kill(os.getpid(), signal.SIGTERM)  # from Slurm, to every process of a step
        os.kill(os.getpid(), signal.SIGTERM)  # from torchrun, which had one, too
        assert interruption.reason == signal.SIGTERM
    assert capfd.readouterr().err.count("saving after this step") == 1


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP")
def test_a_second_hangup_ends_nothing_and_sigterm_counts_beside_it() -> None:
    with noted_interruption() as interruption:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        assert interruption.reason == signal.SIGHUP
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.reason == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGHUP)
        assert interruption.reason == signal.SIGTERM


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP")
def test_an_ignored_hangup_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with noted_interruption() as interruption:
            os.kill(os.getpid(), signal.SIGHUP)
            assert interruption.reason == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("stderr", [None, "closed", "broken"])
def test_a_signal_is_noted_whatever_has_become_of_stderr(
    stderr: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        if stderr == "closed":
            stream.close()
        monkeypatch.setattr(sys, "stderr", stderr and stream)
        with noted_interruption() as interruption:
            os.kill(os.getpid(), signal.SIGTERM)
            assert interruption.reason == signal.SIGTERM


def test_beside_the_main_thread_no_signal_is_handled_and_nothing_fails() -> None:
    def note() -> int:
        with noted_interruption(max_hours=1e-15) as interruption:
            return interruption.reason

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(note).result() == TIME_IS_UP


@pytest.mark.kills
def test_a_second_signal_ends_the_process_at_once_even_in_the_middle_of_a_step() -> None:
    program = """
from gpt2.train.interruption import noted_interruption
with noted_interruption():
    print("ready", flush=True)
    while True:
        pass
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stderr
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert "saving after this step" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == -signal.SIGINT  # 130 to a shell
