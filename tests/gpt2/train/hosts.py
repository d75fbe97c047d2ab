"""Processes that have a network, a hostname and mounts of their own, as hosts of a run have.

Run as a program, it imports torch once, and forks a process for each line of JSON that it reads.
"""

import ctypes
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

NEW_MOUNTS, NEW_NAME, NEW_NETWORK = 0x00020000, 0x04000000, 0x40000000  # of unshare(2), setns(2)
BIND, RECURSIVE, PRIVATE = 0x1000, 0x4000, 0x40000  # of mount(2)


def main() -> None:
    import torch

    import gpt2.cli.train
    import gpt2.devices
    import gpt2.train.dry_run
    import gpt2.train.report
    import gpt2.train.run

    assert gpt2.cli.train and gpt2.train.dry_run
    torch.set_num_threads(1)
    gpt2.devices.peak_flops = lambda device, dtype: 1e12  # measured for a quarter of a second
    verdict = type("Verdict", (), {"line": "normal"})()
    gpt2.train.run.write_report = lambda *args, **options: verdict  # it takes a second
    print("ready", flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        if "wait" in command:
            print(ended(command["wait"], command["seconds"]), flush=True)
            continue
        child = os.fork()
        if child == 0:
            run(command)
        print(child, flush=True)


def ended(process: int, seconds: float) -> int | None:
    """Return the exit code of a process, 1000 if it does not end within the time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    return 1000


def run(command: dict[str, Any]) -> None:
    """Become a process of a host, run `gpt2` there, and end."""
    output = os.open(command["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    code = 99
    try:
        enter(**command["host"])
        os.environ.update(command["environment"])
        from gpt2.cli.main import main as gpt2

        code = gpt2(command["args"])
    finally:
        sys.stdout.flush()
        os._exit(code)


def enter(name: str, network: str, mounts: dict[str, str]) -> None:
    """Enter a network namespace, and take a hostname and mounts that no other process sees."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(function: str, *args: Any) -> None:
        if getattr(libc, function)(*args):
            raise OSError(ctypes.get_errno(), function)

    with Path("/run/netns", network).open() as file:
        call("setns", file.fileno(), NEW_NETWORK)
    call("unshare", NEW_MOUNTS | NEW_NAME)
    socket.sethostname(name)
    call("mount", None, b"/", None, RECURSIVE | PRIVATE, None)
    for path, source in mounts.items():
        call("mount", source.encode(), path.encode(), None, BIND, None)


if __name__ == "__main__":
    main()
