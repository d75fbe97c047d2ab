"""Which settings of a run does the page show?"""

from typing import Any

from gpt2.config import SIZES, GPT2Config, RunConfig


def settings_of(config: RunConfig) -> dict[str, Any]:
    """Return what the page shows of a run's settings, in strict JSON."""
    model, training = config.model, config.training
    return {
        "steps": training.steps,
        "batch_tokens": training.batch_tokens,
        "parameters": parameters_of(model),
        **{size: getattr(model, size) for size in SIZES},
        "optimizer": config.optimizer.kind,
        "learning_rate": config.optimizer.learning_rate,
        "dtype": training.dtype,
        "device": training.device,
        "data": str(config.data.directory),
        "init_from": training.init_from,
        "evaluation_every": config.evaluation.every,
        "checkpoint_every": config.checkpoint.every,
        "most_moments": config.history.moments,
        "sample_prompts": list(config.evaluation.sample_prompts),
    }


def parameters_of(model: GPT2Config) -> int:
    """Return how many parameters a model of this shape has; shared ones are counted once.

    >>> parameters_of(GPT2Config())
    124439808
    """
    channels, inner = model.n_embd, model.inner
    embeddings = (model.vocab_size + model.n_positions) * channels
    head = 0 if model.tie_word_embeddings else model.vocab_size * channels
    attention = 4 * channels * channels + 4 * channels
    mlp = 2 * channels * inner + inner + channels
    norms = 2 * channels
    return embeddings + head + model.n_layer * (attention + mlp + 2 * norms) + norms
