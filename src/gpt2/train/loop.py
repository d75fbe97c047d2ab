"""The training loop: what a run does from its first step to its last."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from gpt2 import devices
from gpt2.config import RunConfig
from gpt2.data.batches import Batches
from gpt2.files.training_state import TrainingState
from gpt2.model.gpt import evaluating
from gpt2.train.distributed import Parallel, clip_gradients
from gpt2.train.interruption import DIVERGED, Interruption
from gpt2.train.metrics import Record, Row
from gpt2.train.optimizer import set_learning_rate
from gpt2.train.schedule import context_length, learning_rate
from gpt2.train.validation import Evaluation

MOST_SKIPPED = 10  # steps in a row


class Trainer:
    """A run in progress: the model, its optimizers, the data, and how far they have come.

    Args:
        config: The settings.
        parallel: The model, spread over the ranks.
        optimizers: They update each parameter once.
        batches: This rank's rows of each step.
        evaluations: What to measure at intervals; the first gives the held-out loss.
        peak_flops: Peak of all ranks together, FLOP/s; None if unknown.
        state: How far the run is.
    """

    def __init__(
        self,
        config: RunConfig,
        parallel: Parallel,
        optimizers: Sequence[torch.optim.Optimizer],
        batches: Batches,
        evaluations: Sequence[Evaluation],
        peak_flops: float | None,
        state: TrainingState,
    ) -> None:
        self.config = config
        self.parallel = parallel
        self.optimizers = optimizers
        self.batches = batches
        self.evaluations = evaluations
        self.processes = parallel.processes
        self.peak_flops = peak_flops
        self.state = state

    def train(
        self,
        record: Record,
        keep_moment: Callable[[], None],
        save: Callable[[], None],
        interruption: Interruption,
    ) -> int:
        """Take the steps that are left: step, evaluate, keep the moment, save.

        Args:
            record: Takes each row of metrics.
            keep_moment: Keeps the moment of the current step, if it is one to keep.
            save: Saves a checkpoint of the current step.
            interruption: Whether to stop early.
        Returns:
            Why it stopped: `interruption.reason`, or DIVERGED; 0 after the last step.
        """
        last, reason = self.config.training.steps, 0
        with closing(self.batches):
            if self.state.step == 0:
                keep_moment()
            while (step := self.state.step + 1) <= last and not reason:
                record(self.take_step())
                due = step == last or step % self.config.checkpoint.every == 0
                if step == last or step % self.config.evaluation.every == 0:
                    row = self.evaluate()
                    record(row)
                    due |= self.note_best(row["val_loss"]) and self.config.checkpoint.keep_best
                keep_moment()  # before a checkpoint, so that a run that resumes has it
                reason = int(self.processes.max(interruption.reason))
                if self.state.skipped >= MOST_SKIPPED:
                    reason = DIVERGED
                if due or reason:
                    save()
        return reason if self.state.step < last or reason == DIVERGED else 0

    def take_step(self) -> Row:
        """Take one optimizer step, unless it is not finite, and return its row of metrics."""
        started = time.perf_counter()
        config, state = self.config.training, self.state
        rate = learning_rate(state.step, config.steps, self.config.optimizer)
        length = context_length(state.step, self.config)
        loss, grad_norm = self.update(rate, self.accumulate_gradients())
        finite = math.isfinite(loss) and math.isfinite(grad_norm)
        seconds = max(time.perf_counter() - started, 1e-9)  # a coarse clock may show none
        self.state = replace(
            state,
            step=state.step + 1,
            tokens=state.tokens + config.batch_tokens,
            training_seconds=state.training_seconds + seconds,
            skipped=0 if finite else state.skipped + 1,
        )
        pace = config.batch_tokens / seconds
        flops = pace * self.parallel.model.flops_per_token(length)
        row = {
            "step": self.state.step,
            "loss": loss,
            "learning_rate": rate,
            "grad_norm": grad_norm,
            "tokens": self.state.tokens,
            "tokens_per_second": pace,
            "mfu": flops / self.peak_flops if self.peak_flops else None,
            "training_seconds": self.state.training_seconds,
        }
        return row if finite else row | {"skipped": True}

    def accumulate_gradients(self) -> Sequence[Tensor]:
        """Compute the gradients of the mean loss of this rank's rows.

        Returns:
            What each micro-batch adds to that loss, still on the device.
        """
        config, step = self.config.training, self.state.step
        rows = torch.from_numpy(self.batches.at(step))  # (R, T + 1), this rank's
        micro_batches = rows.split(config.micro_batch)
        losses = []
        for number, micro_batch in enumerate(micro_batches, start=1):
            # Dropout draws from the global generator. Seeded by what is read, it needs no saving,
            # and the draws do not depend on how many processes share the step.
            first_row = self.processes.rank * len(rows) + (number - 1) * config.micro_batch
            torch.manual_seed(mix_seeds(config.seed, step, first_row))
            pieces = cut(micro_batch, context_length(step, self.config))
            with self.parallel.gradient_sync(is_last=number == len(micro_batches)):
                loss = self.parallel.loss(pieces) / len(micro_batches)
                self.parallel.scaler.scale(loss).backward()
            losses.append(loss.detach())
        return losses

    def update(self, rate: float, losses: Sequence[Tensor]) -> tuple[float, float]:
        """Apply the gradients, if they and the loss are finite.

        Args:
            rate: The learning rate.
            losses: As `accumulate_gradients` returns them.
        Returns:
            The loss of all ranks, and the global norm of the gradients.
        """
        scaler = self.parallel.scaler
        for optimizer in self.optimizers:
            scaler.unscale_(optimizer)
        norm = clip_gradients(self.parallel.model, self.config.optimizer.gradient_clip)
        # The one place of a step that waits for a GPU.
        *shares, grad_norm = devices.read(torch.stack([*losses, norm]))
        loss = self.processes.sum(sum(shares)) / self.processes.world_size
        finite = math.isfinite(loss) and math.isfinite(grad_norm)
        set_learning_rate(self.optimizers, rate)
        for optimizer in self.optimizers:
            if finite:
                scaler.step(optimizer)
            optimizer.zero_grad()
        scaler.update()
        return loss, grad_norm

    @torch.no_grad()
    def evaluate(self) -> Row:
        """Return what the evaluations measure, as a row of metrics."""
        started = time.perf_counter()
        row: Row = {"step": self.state.step}
        with evaluating(self.parallel.model), self.parallel.autocast():
            for evaluation in self.evaluations:
                row |= evaluation(self.parallel.model, self.processes)
        seconds = self.state.evaluation_seconds + time.perf_counter() - started
        self.state = replace(self.state, evaluation_seconds=seconds)
        return row | {"evaluation_seconds": seconds}

    def note_best(self, val_loss: float) -> bool:
        """Return whether the held-out loss is the lowest so far; if so, remember it."""
        lowest = self.state.best_val_loss
        is_best = math.isfinite(val_loss) and (lowest is None or val_loss < lowest)
        if is_best:
            self.state = replace(self.state, best_step=self.state.step, best_val_loss=val_loss)
        return is_best


def cut(rows: Tensor, length: int) -> Tensor:  # (R, T + 1) -> (R * T / length, length + 1)
    """Cut rows into shorter ones; the last token of each, only predicted, begins the next."""
    return rows.unfold(1, length + 1, length).flatten(0, 1)


def mix_seeds(*seeds: int) -> int:
    """Return a seed of 64 bits made of several, so that no two steps or rows draw alike."""
    return int(np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0])
