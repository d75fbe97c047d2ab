"""The job scripts and the manifest of docs/clusters, with stand-ins for the cluster's programs.

`tests/test_slurm.py` runs the scripts on a real Slurm, where one is installed.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch.distributed.run import get_args_parser

from gpt2.cli.main import main
from gpt2.files.run_directory import newest_checkpoint
from llm_tokenizer import Tokenizer

ROOT = Path(__file__).parents[1]
CLUSTERS = ROOT / "docs/clusters"
PAGE = (ROOT / "docs/clusters.md").read_text(encoding="utf-8")
SCRIPTS = sorted(CLUSTERS.glob("*.sbatch"))
# Of `sbatch --help`; what is misspelt fails at once on a cluster, but only there.
OPTIONS = {"array", "cpus-per-task", "gpus-per-node", "job-name", "nodes", "ntasks-per-node"}
OPTIONS |= {"open-mode", "output", "requeue", "signal", "time"}
JOB = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_NNODES": "2"}
JOB |= {"SLURM_CPUS_PER_TASK": "4", "SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "1"}
TINY = shlex.split("""
    --steps 3 --batch-tokens 32 --micro-batch 1 --val-tokens 16 --warmup-steps 1 --no-compile
    --n-positions 16 --n-embd 8 --n-layer 1 --n-head 2 --device cpu
""")
# Each stand-in writes down how it is called. srun ends once it may.
RECORD = '#!/bin/sh\nprintf "%s\\n" "$(basename "$0") $*" >> calls\n'
STAND_INS = {
    "gpt2": "",
    "scontrol": 'if [ "$1" = show ]; then printf "n1\\nn2\\n"; fi',
    "scancel": "touch may_end",
    "srun": "while [ ! -e may_end ]; do sleep 0.05; done; exit $SRUN_CODE",
}

on_unix = pytest.mark.skipif(sys.platform == "win32", reason="needs bash and SIGUSR1")


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A folder in which scripts find the stand-ins."""
    for name, does in STAND_INS.items():
        (tmp_path / name).write_text(RECORD + does + "\n")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def submit(job: Path, script: str, *args: str, code: int = 0) -> subprocess.Popen[bytes]:
    """Start a script as Slurm does.

    Args:
        job: Its folder.
        script: Its name.
        args: Of the script.
        code: The exit code of srun.
    """
    variables = JOB | {"PATH": f"{job}:{os.environ['PATH']}", "SRUN_CODE": str(code)}
    variables = {
        name: value for name, value in os.environ.items() if "SLURM" not in name
    } | variables
    return subprocess.Popen(["bash", CLUSTERS / script, *args], cwd=job, env=variables)


def calls(job: Path, program: str) -> list[list[str]]:
    """Return the arguments of each call of a program."""
    lines = (job / "calls").read_text().splitlines() if (job / "calls").exists() else []
    return [words[1:] for line in lines if (words := line.split(" "))[0] == program]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_has_bashs_syntax_and_sbatchs_options(script: Path) -> None:
    lines = script.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#!/bin/bash"
    given = [shlex.split(line)[1] for line in lines if re.match("#+SBATCH ", line)]
    assert {option.removeprefix("--").partition("=")[0] for option in given} <= OPTIONS
    assert all(option.startswith("--") for option in given)
    if sys.platform != "win32":
        subprocess.run(["bash", "-n", script], check=True)


@on_unix
def test_a_job_of_an_array_prepares_its_part(
    job: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer.save(job / "tokenizer")
    for number in range(6):
        (job / f"{number}.txt").write_text("a text\n" * (9 + number))
    flags = ["--tokenizer", "tokenizer", "--hold-out", "0.5"]
    process = submit(job, "prepare.sbatch", "3", "parts", "*.txt", *flags)
    assert process.wait(60) == 0
    [args] = calls(job, "gpt2")
    assert args[args.index("--part") + 1] == "2/3"
    monkeypatch.chdir(job)
    assert main(args) == 0
    assert main(["prepare", "--verify", "parts/2"]) == 0


@on_unix
@pytest.mark.parametrize("code", [0, 1])
def test_a_job_whose_run_ends_by_itself_is_not_requeued(job: Path, code: int) -> None:
    (job / "may_end").touch()
    process = submit(job, "train.sbatch", "--out", "run", code=code)
    assert process.wait(60) == code
    assert [call[0] for call in calls(job, "scontrol")] == ["show"]
    assert not calls(job, "scancel")


@on_unix
@pytest.mark.kills
@pytest.mark.parametrize("code", [0, 1], ids=["finished just in time", "saved"])
def test_before_the_time_limit_the_run_stops_and_the_job_is_requeued(job: Path, code: int) -> None:
    process = submit(job, "train.sbatch", "--out", "run", code=code)
    while not calls(job, "srun"):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(60) == code
    assert calls(job, "scancel") == [["--signal=TERM", "7"]]
    requeued = [call for call in calls(job, "scontrol") if call[0] == "requeue"]
    assert requeued == ([["requeue", "7"]] if code else [])


@on_unix
def test_the_same_command_starts_a_run_and_goes_on_with_it(
    job: Path, shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (job / "may_end").touch()
    run = job / "run"
    flags = [*TINY, "--data.directory", str(shards), "--out", str(run)]
    assert submit(job, "train.sbatch", *flags).wait(60) == 0
    [args] = calls(job, "srun")
    launcher = get_args_parser().parse_args(args[args.index("torchrun") + 1 :])
    assert (launcher.nnodes, launcher.nproc_per_node, launcher.rdzv_backend) == ("2", "1", "c10d")
    assert (launcher.rdzv_endpoint, launcher.rdzv_id) == ("n1:20007", "7")
    assert (launcher.module, launcher.training_script) == (True, "gpt2")
    assert main(launcher.training_script_args) == 0
    assert newest_checkpoint(run).name == "step_00000003"
    assert main(launcher.training_script_args) == 0
    assert "is finished" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(CLUSTERS.iterdir()), ids=lambda path: path.name)
def test_the_page_tells_of_each_file(path: Path) -> None:
    assert f"(clusters/{path.name})" in PAGE


@pytest.fixture
def manifest() -> dict[str, Any]:
    """The Kubernetes objects by their kinds."""
    text = (CLUSTERS / "train.yaml").read_text(encoding="utf-8")
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def test_the_pods_of_the_manifest_find_each_other(manifest: dict[str, Any]) -> None:
    job, service = manifest["Job"], manifest["Service"]
    pod = job["spec"]["template"]["spec"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": job["metadata"]["name"]}
    assert pod["subdomain"] == service["metadata"]["name"]
    [container] = pod["containers"]
    program, *args = container["command"]
    launcher = get_args_parser().parse_args(args)
    assert program == "torchrun"
    first = f"{job['metadata']['name']}-0.{pod['subdomain']}"
    assert launcher.rdzv_endpoint.split(":")[0] == first
    assert int(launcher.nnodes) == job["spec"]["completions"] == job["spec"]["parallelism"]
    assert launcher.shutdown_timeout < pod["terminationGracePeriodSeconds"]


def test_the_command_of_the_manifest_trains(
    manifest: dict[str, Any], shards: Path, tmp_path: Path
) -> None:
    [container] = manifest["Job"]["spec"]["template"]["spec"]["containers"]
    args = get_args_parser().parse_args(container["command"][1:]).training_script_args
    [volume] = container["volumeMounts"]
    shutil.copytree(shards, tmp_path / "data")
    moved = [arg.replace(volume["mountPath"], str(tmp_path)) for arg in args]
    assert main([*moved, *TINY]) == 0
    assert newest_checkpoint(tmp_path / "runs/first").name == "step_00000003"


def test_the_manifest_fits_kubernetes_schema(manifest: dict[str, Any]) -> None:
    validation = pytest.importorskip("kubernetes_validate")  # installed by hand: 22 MB
    for document in manifest.values():
        assert validation.validate(document, "1.30", strict=True)
