"""HellaSwag while a run trains: every rank scores its share of the rows."""

import math
from collections.abc import Sequence
from itertools import islice

import numpy as np
import torch

from gpt2 import devices
from gpt2.config import EvaluationConfig
from gpt2.errors import ConfigError, NotFiniteError
from gpt2.evaluate.data_files import find_data, read_rows
from gpt2.evaluate.hellaswag import ON_HUB, HellaSwagRow, checked_row, completion
from gpt2.evaluate.multiple_choice import Encoded, hits
from gpt2.evaluate.packing import Question
from gpt2.evaluate.scoring import Scorer, memory_of
from gpt2.files.pretrained import GPT2
from gpt2.train.distributed import Processes, gather_outside_blocks
from gpt2.train.metrics import Row
from gpt2.train.validation import Evaluation
from llm_tokenizer import Tokenizer

HUB = "hub"  # as evaluation.hellaswag: the validation rows there


def hellaswag_rows(config: EvaluationConfig) -> list[HellaSwagRow]:
    """Return the rows that a run measures.

    Raises:
        DataError: They cannot be had, or one is bad.
    """
    words = [config.hellaswag] if config.hellaswag not in (None, HUB) else []
    rows = (row for file in find_data(words, ON_HUB) for row in read_rows(file.path))
    return [checked_row(place, row) for place, row in islice(rows, config.hellaswag_rows)]


def check_lengths(rows: Sequence[HellaSwagRow], tokenizer: Tokenizer, n_positions: int) -> None:
    """Make sure that there are rows, and that a model can read every ending.

    Raises:
        ConfigError: There is none, or it cannot.
    """
    items = [completion(row, tokenizer) for row in rows]
    longest = max((length for item in items for length in item.lengths), default=0)
    if not 0 < longest <= n_positions:
        raise ConfigError(
            f"evaluation.hellaswag must have rows, with endings of at most {n_positions} tokens, "
            f"as many as the model reads; it has {len(items)}, the longest ending of {longest}"
        )


def hellaswag_accuracy(
    rows: Sequence[HellaSwagRow], tokenizer: Tokenizer, batch_rows: int
) -> Evaluation:
    """Return the evaluation of the accuracy on HellaSwag, in completion style.

    Args:
        rows: At least one.
        tokenizer: Of the model.
        batch_rows: A pass takes the memory of as many rows of n_positions tokens.
    """
    items = [completion(row, tokenizer) for row in rows]

    def evaluate(model: GPT2, processes: Processes) -> Row:
        memory = memory_of(batch_rows * model.config.n_positions, model)
        scorer = Scorer(model, memory=memory, dtype=devices.product_dtype(model.wpe.weight))
        share = items[processes.rank :: processes.world_size]
        # A rank without a share reads a row, too: where a model is sharded, all must take part.
        questions = [item.questions[0] for item in share or items[:1]]
        gather_outside_blocks(model)
        # Each shape of the passes would be compiled, which takes longer than it saves.
        with torch.compiler.set_stance("force_eager"):
            nats = nats_of_share(scorer, questions, processes)
        found = [finite_hits(item, each) for item, each in zip(share, nats, strict=False)]
        by_nats, by_length = np.array(found).reshape(-1, 2).sum(axis=0).tolist()
        return {
            "hellaswag_acc": processes.sum(by_nats) / len(items),
            "hellaswag_acc_norm": processes.sum(by_length) / len(items),
        }

    return evaluate


def nats_of_share(
    scorer: Scorer, questions: Sequence[Question], processes: Processes
) -> list[list[float]]:
    """Return the nats of each continuation, NaN where a pass has a loss that is not finite.

    Every rank makes as many passes, whatever its questions need.
    """
    passes = scorer.plan(enumerate(questions))
    nats = [[math.nan] * len(question.continuations) for question in questions]
    for number in range(int(processes.max(len(passes)))):
        rows = passes[min(number, len(passes) - 1)]  # the last one again
        try:
            found = scorer.run(rows)
        except NotFiniteError:  # on this rank; the others go on
            continue
        for row, scores in zip(rows, found, strict=True):
            for index, score in zip(row.indices, scores, strict=True):
                nats[row.number][index] = score.total
    return nats


def finite_hits(item: Encoded, nats: Sequence[float]) -> tuple[float, float]:
    """Return as `hits` whether the right ending is the likeliest, NaN if that is not known."""
    return hits(item, nats) if all(map(math.isfinite, nats)) else (math.nan, math.nan)
