"""The training loop: what a run does from its first step to its last."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
import torch

from gpt2.checkpoint import TrainingState
from gpt2.config import RunConfig
from gpt2.data.batches import Batches
from gpt2.errors import Gpt2Error
from gpt2.model.gpt import evaluating
from gpt2.train.distributed import Parallel, Processes, clip_gradients
from gpt2.train.evaluations import Evaluation
from gpt2.train.interruption import Interruption
from gpt2.train.metrics import Row
from gpt2.train.schedule import learning_rate

MOST_SKIPPED = 10  # steps in a row


class DivergedRunError(Gpt2Error):
    """Too many steps in a row had a loss or a gradient that is not finite."""


class Trainer:
    """A run in progress: the model, its optimizers, the data, and how far they have come.

    Args:
        config: The settings.
        parallel: The model, spread over the processes.
        optimizers: They update each parameter once.
        scaler: Of the loss, for float16.
        batches: This process's rows of each step.
        evaluations: What to measure at intervals.
        processes: All that take part.
        peak_flops: What the processes could do together, in operations a second, if known.
        state: How far the run is.
    """

    def __init__(
        self,
        config: RunConfig,
        parallel: Parallel,
        optimizers: Sequence[torch.optim.Optimizer],
        scaler: torch.amp.GradScaler,
        batches: Batches,
        evaluations: Sequence[Evaluation],
        processes: Processes,
        peak_flops: float | None,
        state: TrainingState,
    ) -> None:
        self.config = config
        self.parallel = parallel
        self.optimizers = optimizers
        self.scaler = scaler
        self.batches = batches
        self.evaluations = evaluations
        self.processes = processes
        self.peak_flops = peak_flops
        self.state = state

    def train(
        self,
        record: Callable[[Row], None],
        save: Callable[[], None],
        interruption: Interruption,
    ) -> int:
        """Take the steps that are left: step, evaluate, save.

        Args:
            record: Takes each row of metrics.
            save: Saves the run as it stands.
            interruption: Says whether to stop early.
        Returns:
            Why it stopped before the last step, as `interruption` says it; 0 at the last step.
        Raises:
            DivergedRunError: The run has diverged; it has been saved.
        """
        every, last = self.config.checkpoint.every, self.config.training.steps
        reason = 0
        with closing(self.batches):
            while (step := self.state.step + 1) <= last and not reason:
                record(self.take_step())
                due = step == last or step % every == 0
                if step == last or step % self.config.evaluation.every == 0:
                    row = self.evaluate()
                    record(row)
                    due |= self.note_best(row["val_loss"]) and self.config.checkpoint.keep_best
                reason = int(self.processes.max(interruption.reason))
                diverged = self.state.skipped >= MOST_SKIPPED
                if due or reason or diverged:
                    save()
                if diverged:
                    raise DivergedRunError(
                        f"the last {self.state.skipped} steps, up to step {step}, had a loss or "
                        "gradient norm that is not finite, and changed no weight; the run is saved "
                        "and stopped: resume it with a lower learning rate or another dtype"
                    )
        return reason if self.state.step < last else 0

    def take_step(self) -> Row:
        """Take one optimizer step, unless it is not finite, and return its row of metrics."""
        started = time.perf_counter()
        config, state = self.config.training, self.state
        rate = learning_rate(state.step, config.steps, self.config.optimizer)
        rows = torch.from_numpy(self.batches.at(state.step))  # (R, T + 1)
        micro_batches = rows.split(config.micro_batch)
        losses = []
        for number, micro_batch in enumerate(micro_batches):
            # Dropout draws from the global generator. Seeded by what is read, it needs no saving,
            # and the draws do not depend on how many processes share the step.
            first_row = self.processes.rank * len(rows) + number * config.micro_batch
            torch.manual_seed(mix_seeds(config.seed, state.step, first_row))
            with self.parallel.averaging(number + 1 == len(micro_batches)):
                loss = self.parallel.loss(micro_batch) / len(micro_batches)
                self.scaler.scale(loss).backward()
            losses.append(loss.detach())
        mean_loss = self.processes.sum(sum(loss.item() for loss in losses)) / self.processes.count
        for optimizer in self.optimizers:
            self.scaler.unscale_(optimizer)
        grad_norm = clip_gradients(self.parallel.model, self.config.optimizer.gradient_clip)
        finite = math.isfinite(mean_loss) and math.isfinite(grad_norm)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            if finite:
                self.scaler.step(optimizer)
            optimizer.zero_grad()
        self.scaler.update()
        seconds = time.perf_counter() - started
        pace = config.batch_tokens / seconds
        flops = pace * self.parallel.model.flops_per_token()
        self.state = replace(
            state,
            step=state.step + 1,
            tokens=state.tokens + config.batch_tokens,
            seconds=state.seconds + seconds,
            skipped=0 if finite else state.skipped + 1,
        )
        row = {
            "step": self.state.step,
            "loss": mean_loss,
            "learning_rate": rate,
            "grad_norm": grad_norm,
            "tokens": self.state.tokens,
            "tokens_per_second": pace,
            "mfu": flops / self.peak_flops if self.peak_flops else None,
            "seconds": self.state.seconds,
        }
        return row if finite else row | {"skipped": True}

    @torch.no_grad()
    def evaluate(self) -> Row:
        """Return what the evaluations find, as a row of metrics."""
        started = time.perf_counter()
        row: Row = {"step": self.state.step}
        with evaluating(self.parallel.model), self.parallel.arithmetic():
            for evaluation in self.evaluations:
                row |= evaluation(self.parallel.model, self.processes)
        seconds = self.state.evaluation_seconds + time.perf_counter() - started
        self.state = replace(self.state, evaluation_seconds=seconds)
        return row | {"seconds": seconds}

    def note_best(self, val_loss: float) -> bool:
        """Return whether the held-out loss is the lowest so far, and keep it in mind."""
        lowest = self.state.best_val_loss
        is_best = math.isfinite(val_loss) and (lowest is None or val_loss < lowest)
        if is_best:
            self.state = replace(self.state, best_step=self.state.step, best_val_loss=val_loss)
        return is_best


def mix_seeds(*seeds: int) -> int:
    """Return a seed of 64 bits made of several, so that no two steps or rows draw alike."""
    return int(np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0])
