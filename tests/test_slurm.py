"""The job scripts of docs/clusters on a real Slurm: two nodes, each of them namespaces of Linux.

A node has a network, a host name and processes of its own: when its first process is killed, all
end, as where the power fails. All files are shared, as on the disk of a cluster.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpt2.cli.main import main
from gpt2.config import (
    CheckpointConfig,
    DataConfig,
    EvaluationConfig,
    GPT2Config,
    OptimizerConfig,
    PrepareConfig,
    RunConfig,
    TrainingConfig,
)
from gpt2.files.run_directory import newest_checkpoint
from gpt2.prepare.pipeline import prepare
from gpt2.prepare.sources import in_memory
from gpt2.train.metrics import read_metrics
from llm_tokenizer import Tokenizer

DOCS = Path(__file__).parents[1] / "docs"
SCRIPTS = DOCS / "clusters"
TEXT = (DOCS / "data.md").read_text(encoding="utf-8")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged", "ip", "nsenter", "setpriv", "unshare")
NAMESPACES = ("--net", "--uts", "--mount", "--pid")
ADDRESSES = {"head": "10.0.0.1", "n1": "10.0.0.2", "n2": "10.0.0.3"}
MOST_SECONDS = 240  # of anything that is waited for
CONF = """
ClusterName=tried
SlurmctldHost=head
SlurmUser=root
AuthInfo=socket={place}/munge.socket,cred_expire=5
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/%n
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/%n.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/%n.log
SlurmdTimeout=5
SlurmdParameters=config_overrides
ReturnToService=2
NodeName=n[1-2] CPUs=2
PartitionName=all Nodes=n[1-2] Default=YES State=UP
"""


def missing() -> str:
    """Return why no cluster can be started here, nothing if one can."""
    lacking = [program for program in PROGRAMS if shutil.which(program) is None]
    if sys.platform != "linux" or lacking:
        return f"needs Linux and {', '.join(lacking)}"
    tried = subprocess.run(["unshare", *NAMESPACES, "--fork", "true"], capture_output=True)
    return "needs the rights to make namespaces" if os.geteuid() or tried.returncode else ""


WHY_NOT = missing()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


class Host:
    """A machine: namespaces that live as long as their first process."""

    def __init__(self, name: str, place: Path) -> None:
        self._place = place
        setup = f"hostname {name}; mount --bind {place}/hosts /etc/hosts; ip link set lo up"
        # The machine ends with these tests, even where they are killed.
        start = ["setpriv", "--pdeathsig", "KILL", "unshare", *NAMESPACES, "--mount-proc"]
        start += [
            "--fork",
            "--kill-child",
            "sh",
            "-ec",
            f"{setup}; echo ready; exec sleep infinity",
        ]
        self._first = subprocess.Popen(start, stdout=subprocess.PIPE, text=True)
        assert self._first.stdout
        assert self._first.stdout.readline() == "ready\n"
        parent = self._first.pid
        self.pid = Path(f"/proc/{parent}/task/{parent}/children").read_text().strip()

    def run(self, *command: str | Path, namespaces: tuple[str, ...] = NAMESPACES) -> str:
        """Run a command on this machine in the folder of the cluster, and return its output."""
        enter = ["nsenter", "--target", self.pid, *namespaces, f"--wd={self._place}"]
        search = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            [*enter, *command],
            env=os.environ | {"SLURM_CONF": f"{self._place}/slurm.conf", "PATH": search},
            capture_output=True,
            text=True,
            timeout=MOST_SECONDS,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def kill(self) -> None:
        """End every process of this machine."""
        self._first.kill()
        self._first.communicate()


@dataclass
class Cluster:
    """A Slurm with two nodes, n1 and n2."""

    place: Path
    hosts: dict[str, Host]

    def start_node(self, name: str) -> None:
        """Connect a node to the network, and start its daemon."""
        node = self.hosts[name] = Host(name, self.place)
        link = ["ip", "link", "add", f"to-{name}", "master", "bridge", "up", "type", "veth"]
        # By its number, which the processes of another machine do not have.
        peer = ["peer", "name", "eth0", "netns", node.pid]
        self.hosts["head"].run(*link, *peer, namespaces=("--net",))
        node.run("ip", "addr", "add", f"{ADDRESSES[name]}/24", "dev", "eth0")
        node.run("ip", "link", "set", "eth0", "up")
        node.run("slurmd", "-N", name)

    def submit(self, *args: str | Path) -> str:
        """Submit a job, and return its number."""
        return self.hosts["head"].run("sbatch", "--parsable", *args).strip()

    def job(self, number: str) -> dict[str, str]:
        """Return what Slurm knows of a job."""
        text = self.hosts["head"].run("scontrol", "show", "job", "--oneliner", number)
        return dict(re.findall(r"(\w+)=(\S*)", text))

    def wait_for_end(self, job: str) -> None:
        """Wait until a job has ended well."""
        wait_until(lambda: self._state(job) == "COMPLETED")

    def wait_for_requeue(self, job: str, restarts: int) -> None:
        """Wait until a job is in the queue again. Some seconds later, `cred_expire`, it starts."""
        wait_until(lambda: self.job(job)["Restarts"] == f"{restarts}")
        wait_until(lambda: self._state(job) == "PENDING")

    def _state(self, number: str) -> str:
        state = self.job(number)["JobState"]
        assert state not in ("FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"), self.logs()
        return state

    def logs(self) -> str:
        """Return the output of all jobs."""
        return "\n".join(path.read_text() for path in sorted(self.place.glob("*-*.log")))


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + MOST_SECONDS
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.2)


@contextmanager
def started(place: Path) -> Iterator[Cluster]:
    """Start a cluster, and end it."""
    names = "".join(f"{address} {name}\n" for name, address in ADDRESSES.items())
    (place / "hosts").write_text(f"127.0.0.1 localhost\n{names}")
    (place / "slurm.conf").write_text(CONF.format(place=place))
    (place / "state").mkdir()
    key = place / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    files = [f"--{kind}-file={place}/munged.{kind}" for kind in ("pid", "seed", "log")]
    cluster = Cluster(place, {"head": Host("head", place)})
    try:
        head = cluster.hosts["head"]
        head.run("ip", "link", "add", "bridge", "type", "bridge")
        head.run("ip", "addr", "add", f"{ADDRESSES['head']}/24", "dev", "bridge")
        head.run("ip", "link", "set", "bridge", "up")
        head.run("munged", "--force", f"--socket={place}/munge.socket", f"--key-file={key}", *files)
        head.run("slurmctld")
        for name in ("n1", "n2"):
            cluster.start_node(name)
        yield cluster
    finally:
        for host in cluster.hosts.values():
            host.kill()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with started(tmp_path) as cluster:
        yield cluster


def test_an_array_of_jobs_prepares_the_parts_of_a_source(
    cluster: Cluster, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(cluster.place)
    tokenizer.save("tokenizer")
    for number, paragraph in enumerate(TEXT.split("\n\n")):
        Path(f"{number}.txt").write_text(paragraph, encoding="utf-8")
    args = ["*.txt", "--tokenizer", "tokenizer"]
    script = ["--array=1-2", "--cpus-per-task=1", SCRIPTS / "prepare.sbatch"]
    job = cluster.submit(*script, "2", "parts", *args)
    for part in (1, 2):
        cluster.wait_for_end(f"{job}_{part}")
        assert main(["prepare", *args, "--part", f"{part}/2", "--out", f"same/{part}"]) == 0
        assert contents(Path(f"parts/{part}")) == contents(Path(f"same/{part}"))
    assert main(["prepare", "--verify", "parts"]) == 0


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def recipe(place: Path, tokenizer: Tokenizer) -> Path:
    """Write tokens, and the settings of a run that takes seconds."""
    source = in_memory("docs/data.md", TEXT.split("\n\n"))
    prepare(source, tokenizer, place / "data", PrepareConfig(hold_out=1 / 3))
    config = RunConfig(
        model=GPT2Config(vocab_size=300, n_positions=32, n_embd=32, n_layer=2, n_head=2),
        data=DataConfig(directory=place / "data"),
        training=TrainingConfig(
            steps=240, batch_tokens=256, micro_batch=4, dtype="float32", device="cpu"
        ),
        optimizer=OptimizerConfig(warmup_steps=10),
        evaluation=EvaluationConfig(every=20, val_tokens=256),
        checkpoint=CheckpointConfig(every=40),
    )
    (place / "settings.toml").write_text(config.to_toml())
    return place / "settings.toml"


@pytest.mark.kills
@pytest.mark.parametrize("nodes", [1, 2])
def test_a_job_that_is_requeued_twice_gives_the_weights_of_a_whole_run(
    cluster: Cluster, tokenizer: Tokenizer, nodes: int
) -> None:
    place = cluster.place
    settings = ["--recipe", recipe(place, tokenizer)]
    script = [f"--nodes={nodes}", "--cpus-per-task=1", "--time=10", SCRIPTS / "train.sbatch"]
    whole = cluster.submit(*script, "--out", "whole", *settings)
    cluster.wait_for_end(whole)

    job = cluster.submit(*script, "--out", "run", *settings)
    wait_until(lambda: step(place / "run") >= 30)
    # As Slurm does by itself before the time limit, within a minute of it.
    cluster.hosts["head"].run("scancel", "--signal=USR1", "--batch", job)
    cluster.wait_for_requeue(job, restarts=1)
    assert "which is saved; go on with" in cluster.logs()
    saved = step(place / "run")
    wait_until(lambda: step(place / "run") > saved + 30)
    died = cluster.job(job)["BatchHost"] if nodes == 1 else "n2"
    cluster.hosts[died].kill()
    cluster.wait_for_requeue(job, restarts=2)
    assert step(place / "run") < 240
    cluster.start_node(died)
    cluster.wait_for_end(job)

    assert cluster.job(job)["Restarts"] == "2"
    for file in ("model.safetensors", "training_state.safetensors"):
        one, other = (newest_checkpoint(place / run) / file for run in ("whole", "run"))
        assert one.read_bytes() == other.read_bytes(), file
    assert losses(place / "whole") == losses(place / "run")


def step(run: Path) -> int:
    """Return the last step of a run's metrics, 0 if there are none."""
    return max((row["step"] for row in read_metrics(run)), default=0)


def losses(run: Path) -> list[float]:
    return [row["loss"] for row in read_metrics(run) if "loss" in row]
