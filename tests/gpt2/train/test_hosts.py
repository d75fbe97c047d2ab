"""Several hosts, each a network namespace with a name of its own, that train one model."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpt2.config import PrepareConfig, RunConfig
from gpt2.files.run_directory import list_checkpoints, newest_checkpoint
from gpt2.prepare.pipeline import prepare
from gpt2.prepare.sources import in_memory
from gpt2.train.interruption import InterruptedRunError
from gpt2.train.metrics import read_metrics
from gpt2.train.run import resume, start
from llm_tokenizer import Tokenizer

pytestmark = pytest.mark.kills

PROGRAM = Path(__file__).with_name("hosts.py")
MOST_SECONDS = 120.0  # that anything here may take on a busy machine
COUNT = 3  # hosts


class Hosts:
    """Hosts 1, 2 and 3 on a bridge: host2 is 10.77.0.2, or 10.78.0.2 on the slow link."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.prefix = f"g{os.getpid()}"
        self.ports = itertools.count(29600)
        self.program = subprocess.Popen(
            [sys.executable, PROGRAM],
            env=os.environ | {"OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._started: list[tuple[int, Path]] = []
        assert self.program.stdout
        assert self.program.stdout.readline() == "ready\n"

    def network(self, host: int) -> str:
        return f"{self.prefix}n{host}"

    def cable(self, host: int) -> str:
        return f"{self.prefix}c{host}"

    def set_up(self) -> None:
        switch = self.network(0)  # of its own, where no firewall of this machine reaches
        ip(f"netns add {switch}", f"-n {switch} link add bridge type bridge")
        ip(f"-n {switch} link set bridge up")
        for host in range(1, COUNT + 1):
            network, cable = self.network(host), self.cable(host)
            ip(f"netns add {network}", f"-n {network} link set lo up")
            ip(f"-n {switch} link add {cable} type veth peer name eth0 netns {network}")
            ip(f"-n {network} addr add 10.77.0.{host}/24 dev eth0")
            ip(f"-n {switch} link set {cable} master bridge", f"-n {network} link set eth0 up")
            self.connect(host)
        for domain in (77, 78):
            lines = [f"10.{domain}.0.{host} host{host}" for host in range(1, COUNT + 1)]
            text = "\n".join(["127.0.0.1 localhost", *lines, ""])
            (self.directory / f"hosts{domain}").write_text(text)

    def connect(self, host: int) -> None:
        ip(f"-n {self.network(0)} link set {self.cable(host)} up")

    def cut(self, host: int) -> None:
        ip(f"-n {self.network(0)} link set {self.cable(host)} down")

    def tear_down(self) -> None:
        assert self.program.stdin and self.program.stdout
        self.program.stdin.close()
        self.program.stdout.close()
        self.program.wait(MOST_SECONDS)
        for host in range(COUNT + 1):
            subprocess.run(["ip", "netns", "del", self.network(host)], capture_output=True)

    def ask(self, **command: Any) -> int:
        assert self.program.stdin and self.program.stdout
        self.program.stdin.write(json.dumps(command) + "\n")
        self.program.stdin.flush()
        return int(self.program.stdout.readline())

    def train(
        self,
        args: Sequence[str | Path] | Callable[[int], Sequence[str | Path]],
        count: int = 2,
        mounts: dict[int, dict[Path | str, Path]] | None = None,
        domain: int = 77,
    ) -> list[int]:
        """Start `gpt2 train` on hosts 1 to `count`, and return the processes."""
        port = next(self.ports)
        started = []
        for rank in range(count):
            host = rank + 1
            mounted = {"/etc/hosts": self.directory / f"hosts{domain}"}
            mounted |= (mounts or {}).get(host, {})
            output = self.directory / f"output{rank}"
            process = self.ask(
                args=["train", *map(str, args(host) if callable(args) else args)],
                name=f"host{host}",
                network=self.network(host),
                mounts={str(path): str(source) for path, source in mounted.items()},
                environment={
                    "RANK": str(rank),
                    "WORLD_SIZE": str(count),
                    "LOCAL_RANK": "0",
                    "MASTER_ADDR": f"10.{domain}.0.1",
                    "MASTER_PORT": str(port),
                },
                output=str(output),
            )
            started.append(process)
        self._started = [
            (process, self.directory / f"output{rank}") for rank, process in enumerate(started)
        ]
        return started

    def ended(self) -> list[tuple[int, str]]:
        """Return the exit code of each process, and what it has printed."""
        return [
            (self.ask(wait=process, seconds=MOST_SECONDS), output.read_text())
            for process, output in self._started
        ]


def ip(*commands: str) -> None:
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need Linux, root and the command ip")
    hosts = Hosts(tmp_path_factory.mktemp("hosts"))
    try:
        try:
            hosts.set_up()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
        yield hosts
    finally:
        hosts.tear_down()


@pytest.fixture
def config(config: RunConfig) -> RunConfig:
    """Eight steps of twelve rows, which 1, 2 and 3 hosts share."""
    training = replace(config.training, steps=8, batch_tokens=192)
    return replace(config, training=training, optimizer=replace(config.optimizer, warmup_steps=1))


@pytest.fixture
def flags(config: RunConfig, tmp_path: Path) -> list[str | Path]:
    """Flags of the run in the directory `run`."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(config.to_toml())
    return ["--recipe", recipe, "--out", tmp_path / "run"]


@pytest.fixture
def endless(flags: list[str | Path]) -> list[str | Path]:
    """Flags of a run that goes on until something happens; a lost host is noticed soon."""
    return [*flags, "--steps", "1000000", "--timeout-seconds", "4"]


def wait_for_checkpoint(run: Path) -> None:
    deadline = time.monotonic() + MOST_SECONDS
    while not list_checkpoints(run):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("count", [2, 3])
def test_hosts_that_share_the_run_directory_train_as_one_process_does(
    hosts: Hosts,
    config: RunConfig,
    flags: list[str | Path],
    tmp_path: Path,
    assert_close: Callable[[Path, Path], None],
    count: int,
) -> None:
    hosts.train(flags, count)
    start(config, tmp_path / "one")
    for code, shown in hosts.ended():
        assert code == 0, shown
    assert_close(tmp_path / "one", tmp_path / "run")


def test_a_slow_link_that_loses_frames_changes_nothing(
    hosts: Hosts,
    config: RunConfig,
    flags: list[str | Path],
    tmp_path: Path,
    assert_close: Callable[[Path, Path], None],
) -> None:
    if not Path("/dev/net/tun").exists():
        pytest.skip("there is no /dev/net/tun")
    networks = [hosts.network(host) for host in (1, 2)]
    link = {"networks": networks, "interface": "slow", "delay": 0.01, "loss": 0.01}
    switch = hosts.ask(switch=link)
    for host, network in enumerate(networks, start=1):
        deadline = time.monotonic() + MOST_SECONDS
        while not Path(f"/proc/{switch}").exists() or not has_interface(network, "slow"):
            assert time.monotonic() < deadline
        ip(f"-n {network} addr add 10.78.0.{host}/24 dev slow", f"-n {network} link set slow up")
    hosts.train(flags, domain=78)
    start(config, tmp_path / "one")
    for code, shown in hosts.ended():
        assert code == 0, shown
    assert_close(tmp_path / "one", tmp_path / "run")
    os.kill(switch, signal.SIGKILL)
    hosts.ask(wait=switch, seconds=MOST_SECONDS)


def has_interface(network: str, name: str) -> bool:
    shown = subprocess.run(["ip", "-n", network, "link", "show", name], capture_output=True)
    return shown.returncode == 0


def test_when_a_host_is_killed_the_other_names_it_and_the_run_goes_on(
    hosts: Hosts, config: RunConfig, endless: list[str | Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    _, second = hosts.train(endless)
    wait_for_checkpoint(run)
    os.kill(second, signal.SIGKILL)
    (code, shown), (killed, _) = hosts.ended()
    assert (code, killed) == (1, -signal.SIGKILL)
    assert "process 0 on host1 lost the connection to host2 (process 1), so it ends" in shown
    assert f"go on with: gpt2 train --resume {run}" in shown
    saved = newest_checkpoint(run)
    hosts.train(["--resume", run, "--max-hours", "1e-9"])
    for code, shown in hosts.ended():
        assert code == 0, shown
    assert newest_checkpoint(run).name > saved.name


@pytest.mark.parametrize("lost", [1, 2], ids=["with the store", "without it"])
def test_when_a_link_is_cut_each_side_names_the_other_within_the_limit(
    hosts: Hosts, endless: list[str | Path], tmp_path: Path, lost: int
) -> None:
    hosts.train(endless, 3)
    wait_for_checkpoint(tmp_path / "run")
    hosts.cut(lost)
    try:
        found = hosts.ended()
    finally:
        hosts.connect(lost)
    names = {1: "host1 (process 0)", 2: "host2 (process 1)"}
    # Without the store of host1, a host that is cut off cannot know of the others.
    other = "host2 (process 1), host3 (process 2)" if lost == 1 else names[1]
    for host, (code, shown) in enumerate(found, start=1):
        assert code == 1
        seen = other if host == lost else names[lost]
        assert f"no sign of life for 4 seconds (training.timeout_seconds) from {seen};" in shown
        assert f"go on with: gpt2 train --resume {tmp_path / 'run'}" in shown


def test_settings_that_differ_are_named_on_all_hosts_and_nothing_is_written(
    hosts: Hosts, flags: list[str | Path], tmp_path: Path
) -> None:
    hosts.train(lambda host: [*flags, "--learning-rate", "0.5"] if host == 2 else flags)
    for code, shown in hosts.ended():
        assert code == 1
        differing = "optimizer.learning_rate is 0.01 on host1 (process 0), 0.5 on host2 (process 1)"
        assert differing in shown
        assert "--resume" not in shown
    assert not (tmp_path / "run").exists()


def test_other_tokens_on_a_host_are_named(
    hosts: Hosts, flags: list[str | Path], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    texts = [f"Text number {number} of another folder." for number in range(200)]
    prepare(in_memory("others", texts), tokenizer, other, PrepareConfig(hold_out=1 / 3))
    hosts.train(lambda host: [*flags, "--data.directory", other] if host == 2 else flags)
    for code, shown in hosts.ended():
        assert code == 1
        assert "the checksum of the tokens is " in shown
        assert "optimizer" not in shown
    assert not (tmp_path / "run").exists()


def test_a_host_that_fails_before_it_joins_is_heard_by_all(
    hosts: Hosts, flags: list[str | Path], tmp_path: Path
) -> None:
    hosts.train(lambda host: [*flags, "--learning-rat", "0.5"] if host == 2 else flags)
    (code, shown), (wrong, own) = hosts.ended()
    assert (code, wrong) == (1, 2)
    assert "error: host2 (process 1): Unrecognized options: --learning-rat" in shown
    assert "error: Unrecognized options: --learning-rat" in own
    assert not (tmp_path / "run").exists()


def test_a_host_whose_name_leads_to_itself_is_named(
    hosts: Hosts, flags: list[str | Path], tmp_path: Path
) -> None:
    wrong = tmp_path / "hosts"
    wrong.write_text("127.0.0.1 localhost\n127.0.1.1 host2\n")
    hosts.train(flags, mounts={2: {"/etc/hosts": wrong}})
    for code, shown in hosts.ended():
        assert code == 1
        assert "on host2 the name host2 leads to 127.0.1.1" in shown
        assert "GLOO_SOCKET_IFNAME" in shown


def test_a_run_directory_that_is_not_shared_is_refused(
    hosts: Hosts, flags: list[str | Path], tmp_path: Path
) -> None:
    private = tmp_path / "private"
    private.mkdir()
    out = tmp_path / "runs"
    out.mkdir()
    hosts.train([*flags[:-1], out / "run"], mounts={2: {out: private}})
    for code, shown in hosts.ended():
        assert code == 1
        assert "the hosts must share the run directory" in shown
        assert f"host2 (process 1) does not see in {out / 'run'}" in shown
    assert not list(out.iterdir()) and not list(private.iterdir())


def test_a_checkpoint_that_one_host_reads_damaged_is_not_trained_on(
    hosts: Hosts, config: RunConfig, flags: list[str | Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    short = replace(config, training=replace(config.training, max_hours=1e-9))
    for begin in (lambda: start(short, run), lambda: resume(run, short)):
        with pytest.raises(InterruptedRunError):
            begin()
    weights = newest_checkpoint(run) / "model.safetensors"
    damaged = tmp_path / "damaged"
    damaged.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    before = read_metrics(run)
    hosts.train(["--resume", run], mounts={2: {weights: damaged}})
    for code, shown in hosts.ended():
        assert code == 1
        assert "the newest intact checkpoint is step_00000002 (" in shown
        assert "on host1 (process 0), step_00000001 (" in shown
    assert read_metrics(run) == before
