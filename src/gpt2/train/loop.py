"""The training loop: from a configuration to a run directory with checkpoints and metrics."""

import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from gpt2 import checkpoint, devices
from gpt2.config import SETTINGS_FILE, RunConfig
from gpt2.data.batches import Batches, TokenStream
from gpt2.data.token_data import open_shards
from gpt2.errors import CheckpointError, DataError
from gpt2.model.gpt import evaluating
from gpt2.pretrained import GPT2
from gpt2.train.interruption import InterruptedRunError, noted_interruption
from gpt2.train.metrics import MetricsLog, Row
from gpt2.train.optimizer import make_optimizers
from gpt2.train.progress import display
from gpt2.train.report import write_report
from gpt2.train.schedule import learning_rate
from llm_tokenizer.text_files import write_whole


def start(config: RunConfig, run: Path) -> None:
    """Train from the first step to the last, in a new run directory.

    Raises:
        CheckpointError: The directory holds a run already.
        DataError: The token shards are missing, damaged or too few.
        ConfigError: A setting does not fit the data or the machine.
        InterruptedRunError: Ctrl-C or SIGTERM; a checkpoint has been saved.
    """
    if (run / SETTINGS_FILE).exists():
        raise CheckpointError(
            f"{run} holds a run already; continue it with --resume {run}, or choose another --out"
        )
    config = resolve(config)
    trainer = Trainer(config, run)
    run.mkdir(parents=True, exist_ok=True)
    write_whole(run / SETTINGS_FILE, config.to_toml().encode())
    trainer.train()
    write_report(run)


def resume(run: Path) -> None:
    """Continue a run after its newest checkpoint, or from the start if it has none.

    Raises:
        CheckpointError: The directory holds no run, or its checkpoint is damaged.
        DataError: The token shards are missing, damaged, or not those of the run.
        InterruptedRunError: Ctrl-C or SIGTERM; a checkpoint has been saved.
    """
    if not (run / SETTINGS_FILE).exists():
        raise CheckpointError(f"{run} holds no run to resume: no {SETTINGS_FILE} there")
    trainer = Trainer(RunConfig.from_toml(run / SETTINGS_FILE), run)
    if saved := checkpoint.steps(run):
        trainer.restore(saved[-1])
    trainer.train()
    write_report(run)


def resolve(config: RunConfig) -> RunConfig:
    """Return the settings without what depends on the working directory or the processor."""
    device = devices.select_device(config.training.device)
    dtype = devices.name_dtype(devices.select_dtype(config.training.dtype, device))
    return replace(
        config,
        data=replace(config.data, directory=config.data.directory.resolve()),
        training=replace(config.training, dtype=dtype),
    )


class Trainer:
    """A run in progress: the model, its optimizers, the data, and how far they have come."""

    def __init__(self, config: RunConfig, run: Path) -> None:
        devices.make_training_fast()
        self.config = config
        self.run = run
        self.data = open_shards(config.data.directory)
        self.data.check_ids(config.model.vocab_size)
        self.train_rows = TokenStream(self.data.train, config.model.n_positions)
        self.val_rows = TokenStream(self.data.val, config.model.n_positions, "held-out")
        self.batches = Batches(self.train_rows, config.batch_rows, config.data.seed)
        self.device = devices.select_device(config.training.device)
        self.dtype = devices.select_dtype(config.training.dtype, self.device)
        self.peak_flops = devices.peak_flops(self.device, self.dtype)
        self.model = GPT2(
            config.model,
            tokenizer=self.data.tokenizer,
            seed=config.training.seed,
            attention=config.training.attention,
            attention_blocks=config.training.attention_blocks,
        ).to(self.device)
        if config.training.compile:
            self.model.compile()
        self.model.gradient_checkpointing = config.training.gradient_checkpointing
        self.optimizers = make_optimizers(self.model, config.optimizer)
        self.step = 0  # steps done
        self.seconds = 0.0  # of training, over all starts of the run

    def restore(self, directory: Path) -> None:
        """Continue after a checkpoint."""
        state = checkpoint.restore(directory, self.model, self.optimizers)
        if state.data_fingerprint != self.data.fingerprint:
            raise DataError(
                f"{self.config.data.directory} holds other tokens than {self.run} was trained on; "
                "put those back to resume it"
            )
        self.step, self.seconds = state.step, state.seconds

    def train(self) -> None:
        """Take the steps that are left: step, evaluate, save."""
        steps = self.config.training.steps
        with (
            MetricsLog(self.run, last_step=self.step) as log,
            noted_interruption() as interruption,
            display(self.step, steps) as show,
            closing(self.batches),
        ):
            while self.step < steps:
                last = self.step + 1 == steps
                rows = [self.take_step()]
                if last or self.step % self.config.evaluation.every == 0:
                    rows.append(self.evaluate())
                for row in rows:
                    log.write(row)
                    show(row)
                stopped = interruption.signal_number
                if last or stopped or self.step % self.config.checkpoint.every == 0:
                    self.save()
                if stopped and not last:
                    raise InterruptedRunError(
                        f"stopped after step {self.step} of {steps}, which is saved; go on with: "
                        f"gpt2 train --resume {self.run}",
                        stopped,
                    )

    def take_step(self) -> Row:
        """Apply one optimizer step and return its row of metrics."""
        started = time.perf_counter()
        config = self.config.training
        rate = learning_rate(self.step, config.steps, self.config.optimizer)
        # Dropout draws from the global generator: seeded anew each step, it needs no saving.
        torch.manual_seed(mix_seeds(config.seed, self.step))
        rows = torch.from_numpy(self.batches.at(self.step))
        micro_batches = rows.to(self.device).split(config.micro_batch)  # each (B, T + 1)
        loss = 0.0
        for micro_batch in micro_batches:
            with devices.autocast(self.device, self.dtype):
                part = self.model.loss(micro_batch[:, :-1], micro_batch[:, 1:])
            part = part / len(micro_batches)
            part.backward()
            loss += part.item()
        clip = self.config.optimizer.gradient_clip
        grad_norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), clip).item()
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()
        seconds = time.perf_counter() - started
        self.step += 1
        self.seconds += seconds
        pace = config.batch_tokens / seconds
        return {
            "step": self.step,
            "loss": loss,
            "learning_rate": rate,
            "grad_norm": grad_norm,
            "tokens": self.step * config.batch_tokens,
            "tokens_per_second": pace,
            "mfu": pace * self.model.flops_per_token() / self.peak_flops
            if self.peak_flops
            else None,
            "seconds": self.seconds,
        }

    @torch.no_grad()
    def evaluate(self) -> Row:
        """Return the loss on the first rows of the held-out tokens, as a row of metrics."""
        length, size = self.config.model.n_positions, self.config.training.micro_batch
        wanted = max(1, self.config.evaluation.val_tokens // length)
        rows = range(min(self.val_rows.rows, wanted))
        total = 0.0  # nats
        with evaluating(self.model), devices.autocast(self.device, self.dtype):
            for first in range(0, len(rows), size):
                batch = torch.from_numpy(self.val_rows.read_rows(rows[first : first + size]))
                batch = batch.to(self.device)
                total += self.model.loss(batch[:, :-1], batch[:, 1:]).item() * len(batch)
        return {"step": self.step, "val_loss": total / len(rows), "val_tokens": len(rows) * length}

    def save(self) -> None:
        """Write a checkpoint of this step."""
        state = checkpoint.TrainingState(
            step=self.step,
            seconds=self.seconds,
            data_fingerprint=self.data.fingerprint,
        )
        keep = self.config.checkpoint.keep_last
        checkpoint.save(self.run, self.model, self.optimizers, state, keep)


def mix_seeds(seed: int, step: int) -> int:
    """Return a seed of 64 bits made of both, so that no two steps draw alike."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0])
