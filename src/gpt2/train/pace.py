"""How fast a run is here, measured by taking its first steps and keeping nothing of them."""

import math
import time
from contextlib import closing
from dataclasses import dataclass, replace
from statistics import median

from gpt2.config import RunConfig
from gpt2.data.shard_folder import open_shards
from gpt2.files.training_state import TrainingState
from gpt2.train.agreement import facts_of_start
from gpt2.train.build import build
from gpt2.train.distributed import joined
from gpt2.train.settings import resolve, with_shape_of_init_from

WARM_UP, MEASURED = 2, 6  # steps
ENOUGH_SECONDS = 8.0  # of steps after the first, which may compile: no further step after that


@dataclass(frozen=True)
class Pace:
    """What the parts of a run take here, in seconds."""

    step: float
    evaluation: float

    def steps_within(self, seconds: float, config: RunConfig) -> int:
        """Return how many steps fit into a time with their evaluations, at least one.

        The last step evaluates, whatever its number.

        >>> from gpt2.config import EvaluationConfig
        >>> config = RunConfig(evaluation=EvaluationConfig(every=10))
        >>> Pace(step=1.0, evaluation=5.0).steps_within(60, config)
        40
        >>> Pace(step=1.0, evaluation=5.0).steps_within(59, config)
        39
        """
        every = config.evaluation.every
        step = max(self.step, 1e-9)  # a coarse clock may show none
        rounds, left = divmod(seconds, every * step + self.evaluation)
        after = max(0, math.floor((left - self.evaluation) / step))
        return max(1, int(rounds) * every + min(after, every - 1))


def measure_pace(config: RunConfig) -> Pace:
    """Take the first steps of a run, with whole contexts, and an evaluation.

    Raises:
        ConfigError, DataError: As when the run starts.
    """
    config = replace(config, training=replace(config.training, short_context=None))
    with joined(config.training, facts_of_start(config, "a measurement")) as processes:
        config = with_shape_of_init_from(resolve(config, processes))
        data = open_shards(config.data.directory)
        source = config.training.init_from
        trainer = build(config, data, TrainingState(), source, processes, ())
        seconds: list[float] = []
        with closing(trainer.batches):
            while len(seconds) < WARM_UP + MEASURED and sum(seconds[1:]) < ENOUGH_SECONDS:
                started = time.perf_counter()
                trainer.take_step()
                seconds.append(time.perf_counter() - started)
        return Pace(
            median(seconds[WARM_UP:] or seconds[1:]), trainer.evaluate()["evaluation_seconds"]
        )
