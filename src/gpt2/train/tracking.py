"""The metrics of a run in TensorBoard or Weights & Biases, which are extras to be installed."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gpt2.config import RunConfig
from gpt2.errors import ConfigError
from gpt2.train.metrics import Record, Row
from llm_tokenizer.atomic import write_whole

WANDB_ID_FILE = "wandb_id.txt"


def require_tracker(config: RunConfig) -> None:
    """Make sure that what `training.track` asks for is installed.

    Raises:
        ConfigError: It is not.
    """
    name = config.training.track
    if name is not None and find_spec(name) is None:
        raise ConfigError(
            f"training.track {name} needs {name}, which is not installed: "
            "pip install 'gpt2-from-scratch[tracking]'"
        )


@contextmanager
def tracking(config: RunConfig, run: Path, last_step: int) -> Iterator[Record]:
    """Yield what takes each row of metrics, as `training.track` asks.

    Args:
        config: The settings; what a tracker shows of the run.
        run: The run directory, into whose folders `tensorboard` and `wandb` they write.
        last_step: Step that the run continues after. TensorBoard drops what it has of later ones;
            wandb keeps it.
    """
    if config.training.track is None:
        yield lambda row: None
        return
    open_tracker = {"tensorboard": _tensorboard, "wandb": _wandb}[config.training.track]
    write, close = open_tracker(config, run, last_step)
    try:
        yield write
    finally:
        close()


Opened = tuple[Record, Callable[[], None]]  # takes the rows; closes


def _tensorboard(config: RunConfig, run: Path, last_step: int) -> Opened:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(run / "tensorboard"), purge_step=last_step + 1)
    if last_step == 0:
        writer.add_text("settings", f"```toml\n{config.to_toml()}```", 0)

    def write(row: Row) -> None:
        for name, value in _numbers(row).items():
            writer.add_scalar(name, value, row["step"])
        for sample in row.get("samples", []):
            writer.add_text(sample["prompt"], sample["text"], row["step"])

    return write, writer.close


def _wandb(config: RunConfig, run: Path, last_step: int) -> Opened:
    import wandb

    id_file = run / WANDB_ID_FILE
    if last_step == 0 or not id_file.exists():  # a resumed run keeps its id
        write_whole(id_file, secrets.token_hex(4).encode())
    try:
        started = wandb.init(
            project="gpt2-from-scratch",
            name=run.resolve().name,
            id=id_file.read_text(),
            resume="allow",
            dir=str(run),
            config=config.to_sections(),
        )
    except wandb.Error as error:  # no key, no network
        raise ConfigError(
            f"training.track wandb: {error} Or keep the metrics here with WANDB_MODE=offline, and "
            f"go on with: gpt2 train --resume {run}"
        ) from None
    started.define_metric("*", step_metric="step")

    def write(row: Row) -> None:
        started.log(_numbers(row) | {"step": row["step"]})

    return write, started.finish


def _numbers(row: Row) -> dict[str, Any]:
    """Return the figures of a row, prefixed with evaluation/ or training/."""
    group = "evaluation" if "val_loss" in row else "training"
    return {
        f"{group}/{name}": value
        for name, value in row.items()
        if isinstance(value, int | float) and name != "step"
    }
