"""A program that forks processes with a network, a hostname and mounts of their own, as hosts have.

It imports torch once, since that takes seconds, and does what each line of JSON asks for.
"""

import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import socket
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

NEW_MOUNTS, NEW_NAME, NEW_NETWORK = 0x00020000, 0x04000000, 0x40000000  # of unshare(2), setns(2)
BIND, RECURSIVE, PRIVATE = 0x1000, 0x4000, 0x40000  # of mount(2)
SET_INTERFACE, TAP, NO_HEADER = 0x400454CA, 0x0002, 0x1000  # of /dev/net/tun
TOO_LONG = 1000  # the exit code of a process that does not end
LARGEST_FRAME = 2000  # bytes


def main() -> None:
    """Answer each line of stdin with a number."""
    import torch

    import gpt2.cli.train
    from gpt2 import devices
    from gpt2.train import agreement, dry_run, run

    assert gpt2.cli.train and dry_run  # imported for the children
    torch.set_num_threads(1)
    agreement.SEEN_WITHIN = 1.0  # seconds
    devices.peak_flops = lambda device, dtype: 1e12  # measured for a quarter of a second
    verdict = type("Verdict", (), {"line": "normal"})()
    run.write_report = lambda *args, **options: verdict  # it takes a second
    print("ready", flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        if "wait" in command:
            print(ended(command["wait"], command["seconds"]), flush=True)
            continue
        child = os.fork()
        if child == 0:
            switch(**command["switch"]) if "switch" in command else be_a_host(**command)
        print(child, flush=True)


def ended(process: int, seconds: float) -> int:
    """Return the exit code of a process; it is killed if it does not end within the time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(process, 9)
    os.waitpid(process, 0)
    return TOO_LONG


def be_a_host(
    args: list[str],
    name: str,
    network: str,
    mounts: dict[str, str],
    environment: dict[str, str],
    output: str,
) -> None:
    """Become a process of a host, run `gpt2` there, and end."""
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(file, descriptor)
    code = 99
    try:
        enter_network(network)
        call("unshare", NEW_MOUNTS | NEW_NAME)
        socket.sethostname(name)
        call("mount", None, b"/", None, RECURSIVE | PRIVATE, None)
        for path, source in mounts.items():
            call("mount", source.encode(), path.encode(), None, BIND, None)
        os.environ.update(environment)
        from gpt2.cli.main import main as gpt2

        code = gpt2(args)
    finally:
        sys.stdout.flush()
        os._exit(code)


def enter_network(network: str) -> None:
    with Path("/run/netns", network).open() as file:
        call("setns", file.fileno(), NEW_NETWORK)


def call(function: str, *args: Any) -> None:
    """Call a function of the C library."""
    if getattr(ctypes.CDLL(None, use_errno=True), function)(*args):
        raise OSError(ctypes.get_errno(), function)


def switch(networks: list[str], interface: str, delay: float, loss: float) -> None:
    """Carry frames between the networks, late by `delay` seconds; lose a share of them."""
    taps = [open_tap(network, interface) for network in networks]
    late: list[tuple[float, int, int, bytes]] = []  # due, number, from, frame
    draw, number = random.Random(0), 0
    while True:
        wait = max(0.0, late[0][0] - time.monotonic()) if late else None
        for tap in select.select(taps, [], [], wait)[0]:
            frame = os.read(tap, LARGEST_FRAME)
            if draw.random() >= loss:
                number += 1
                heapq.heappush(late, (time.monotonic() + delay, number, tap, frame))
        while late and late[0][0] <= time.monotonic():
            _, _, source, frame = heapq.heappop(late)
            for tap in taps:
                if tap != source:
                    with suppress(OSError):  # that interface is not up yet
                        os.write(tap, frame)


def open_tap(network: str, interface: str) -> int:
    """Return a descriptor whose reads and writes are the frames of a new interface."""
    enter_network(network)
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, SET_INTERFACE, struct.pack("16sH", interface.encode(), TAP | NO_HEADER))
    return tap


if __name__ == "__main__":
    main()
