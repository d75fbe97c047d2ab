"""How fast a run is here, measured by taking its first steps and keeping nothing of them."""

import math
from contextlib import closing
from dataclasses import dataclass, replace
from statistics import median

from gpt2.checkpoint import TrainingState
from gpt2.config import RunConfig
from gpt2.data.token_data import open_shards
from gpt2.train.building import build, resolve
from gpt2.train.distributed import joined

STEPS = 8  # the first two warm up, and count only if there are no others
ENOUGH_SECONDS = 8.0  # after which no further step is taken


@dataclass(frozen=True)
class Pace:
    """What the parts of a run take here, in seconds."""

    step: float
    evaluation: float

    def steps_within(self, seconds: float, config: RunConfig) -> int:
        """Return how many steps fit into a time with their evaluations, at least one.

        >>> from gpt2.config import EvaluationConfig
        >>> config = RunConfig(evaluation=EvaluationConfig(every=10))
        >>> Pace(step=1.0, evaluation=5.0).steps_within(60, config)
        40
        """
        per_step = self.step + self.evaluation / config.evaluation.every
        return max(1, math.floor(seconds / per_step))


def measure_pace(config: RunConfig) -> Pace:
    """Take the first steps of a run, with whole contexts, and an evaluation.

    Raises:
        ConfigError, DataError: As when the run starts.
    """
    config = replace(config, training=replace(config.training, short_context=None))
    with joined(config.training.device) as processes:
        config = resolve(config, processes)
        data = open_shards(config.data.directory)
        source = config.training.init_from
        trainer = build(config, data, TrainingState(), source, processes, ())
        seconds: list[float] = []
        with closing(trainer.batches):
            while len(seconds) < STEPS and sum(seconds) < ENOUGH_SECONDS:
                row = trainer.take_step()
                seconds.append(config.training.batch_tokens / row["tokens_per_second"])
        return Pace(median(seconds[2:] or seconds[-1:]), trainer.evaluate()["seconds"])
