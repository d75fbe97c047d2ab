"""Every setting of the package: frozen, checked when made, and free of torch."""

from gpt2.config.generation import GenerationConfig
from gpt2.config.model import PRESETS, SIZES, Activation, AttentionBackend, GPT2Config
from gpt2.config.prepare import PrepareConfig
from gpt2.config.run import (
    RECIPES,
    SETTINGS_FILE,
    CheckpointConfig,
    DataConfig,
    Dtype,
    EvaluationConfig,
    HistoryConfig,
    OptimizerConfig,
    OptimizerKind,
    Parallelism,
    RunConfig,
    Tracker,
    TrainingConfig,
    bundled_recipes,
    recipe_path,
)
from gpt2.config.serve import ServeConfig

__all__ = [
    "PRESETS",
    "RECIPES",
    "SETTINGS_FILE",
    "SIZES",
    "Activation",
    "AttentionBackend",
    "CheckpointConfig",
    "DataConfig",
    "Dtype",
    "EvaluationConfig",
    "GPT2Config",
    "GenerationConfig",
    "HistoryConfig",
    "OptimizerConfig",
    "OptimizerKind",
    "Parallelism",
    "PrepareConfig",
    "RunConfig",
    "ServeConfig",
    "Tracker",
    "TrainingConfig",
    "bundled_recipes",
    "recipe_path",
]
