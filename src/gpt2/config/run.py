"""A training run: what a recipe and `config.toml` hold."""

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, cast

from gpt2.config.checks import check, check_choice, check_seed, look_up
from gpt2.config.model import AttentionBackend, GPT2Config
from gpt2.config.toml import check_types, toml_text, typed
from gpt2.errors import ConfigError

SETTINGS_FILE = "config.toml"  # of a run directory
RECIPES = Path(__file__).parent.parent / "recipes"  # those that come with the package

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
OptimizerKind = Literal["adamw", "muon", "normuon"]
Parallelism = Literal["ddp", "fsdp"]
Tracker = Literal["tensorboard", "wandb"]

MOST_STEPS = 10**8 - 1  # eight digits, as the names of checkpoints have them
MOST_SECONDS = 10**6  # that processes wait for each other
MOST_MOMENTS = 1000  # of less than 1 MB each


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the tokens are and in which order they come."""

    directory: Path = Path("data")
    """Folder of token shards, as `gpt2 prepare` writes it."""
    seed: int = 0
    """Seed of the order of the rows."""
    train_tokens: int | None = None
    """Train on the first tokens only, so many. As many as batch_tokens is one batch, again and
    again, which a sound model learns by heart."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "directory", Path(self.directory))  # Python may give a string
        check_types(self, "data.")
        check_seed("data.seed", self.seed)
        fits = self.train_tokens is None or self.train_tokens >= 1
        check(fits, "data.train_tokens must be at least 1", self.train_tokens)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How long to train, and on how many tokens a step."""

    steps: int = 1000
    """Optimizer steps."""
    batch_tokens: int = 32768
    """Tokens a step, of all processes; a multiple of micro_batch * n_positions * processes."""
    micro_batch: int = 8
    """Rows a forward pass of a process; gradients are accumulated over the step's batch_tokens."""
    short_context: int | None = None
    """Tokens that each row is cut into at the beginning of the run: shorter contexts first teach
    more in the same time. A divisor of n_positions; not cut if not set."""
    short_context_share: float = 0.4
    """Share of the steps with short_context; without one it has no effect."""
    init_from: str | None = None
    """Model whose weights to begin with: gpt2, gpt2-medium, gpt2-large, gpt2-xl, another name on
    the hub, a run, or a Hugging Face directory. The shape is its own; of [model] count the dropout
    rates, and an n_positions below its own."""
    seed: int = 0
    """Seed of the initial weights and of dropout."""
    max_hours: float | None = None
    """Hours after which this start of the run saves a checkpoint and stops."""
    dtype: Dtype = "auto"
    """Of the matrix products; weights stay float32. auto: bfloat16 where it is fast."""
    device: str = "auto"
    """cpu, cuda or mps; auto takes the fastest there is."""
    compile: bool = False
    """Compile the blocks with torch.compile: faster steps after a minute or so."""
    attention: AttentionBackend = "flash"
    """Attention backend of every block, or of attention_blocks."""
    attention_blocks: tuple[int, ...] | None = None
    """0-based indices of the blocks that get this backend; all if not set, the others flash."""
    gradient_checkpointing: bool = False
    """Recompute each block in the backward pass: less memory, more time."""
    parallel: Parallelism = "ddp"
    """With several processes: ddp, each holds the whole model; fsdp, each holds its share."""
    timeout_seconds: float = 60.0
    """With several processes: seconds without a sign of life of one after which the others end,
    and for which they wait for each other at the start. How long a step takes does not matter."""
    track: Tracker | None = None
    """Send the metrics to TensorBoard, into the run directory, or to Weights & Biases, too."""

    def __post_init__(self) -> None:
        check_types(self, "training.")
        for name in ("steps", "batch_tokens", "micro_batch"):
            value = getattr(self, name)
            check(value >= 1, f"training.{name} must be at least 1", value)
            most = 2**40 if name == "batch_tokens" else MOST_STEPS
            check(value <= most, f"training.{name} must be at most {most}", value)
        fits = self.short_context is None or self.short_context >= 1
        check(fits, "training.short_context must be at least 1", self.short_context)
        share = self.short_context_share
        check(0 <= share <= 1, "training.short_context_share must be 0 to 1", share)
        check(self.init_from != "", "training.init_from must name a model", self.init_from)
        check_seed("training.seed", self.seed)
        check_choice("training.dtype", self.dtype, Dtype)
        check_choice("training.attention", self.attention, AttentionBackend)
        check_choice("training.parallel", self.parallel, Parallelism)
        if self.track is not None:
            check_choice("training.track", self.track, Tracker)
        fits = 1 <= self.timeout_seconds <= MOST_SECONDS
        wanted = f"training.timeout_seconds must be 1 to {MOST_SECONDS}"
        check(fits, wanted, self.timeout_seconds)
        fits = self.max_hours is None or self.max_hours > 0
        check(fits, "training.max_hours must be above 0", self.max_hours)
        check(self.max_hours != math.inf, "training.max_hours must be finite", self.max_hours)


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """The optimizer and its learning rate: linear warm-up, then cosine decay."""

    kind: OptimizerKind = "adamw"
    """muon, or normuon, which balances its rows: for the matrices inside the blocks, with AdamW
    for the rest."""
    learning_rate: float = 6e-4
    """Peak, reached at the end of the warm-up."""
    embedding_learning_rate: float | None = None
    """Peak of the token and position embeddings, on the same schedule; learning_rate if not set."""
    min_learning_rate: float | None = None
    """Approached towards the last step; a tenth of learning_rate if not set."""
    warmup_steps: int = 100
    """Steps from zero to the peak."""
    weight_decay: float = 0.1
    """Decoupled, on matrices only."""
    beta1: float = 0.9
    """Decay of AdamW's first moment."""
    beta2: float = 0.95
    """Decay of AdamW's second moment."""
    epsilon: float = 1e-8
    """Added to the root of the second moment."""
    gradient_clip: float = 1.0
    """Largest global norm of the gradients."""

    def __post_init__(self) -> None:
        check_types(self, "optimizer.")
        check_choice("optimizer.kind", self.kind, OptimizerKind)
        for name in ("learning_rate", "embedding_learning_rate"):
            rate = getattr(self, name)
            fits = rate is None or 0 < rate < math.inf
            check(fits, f"optimizer.{name} must be above 0 and finite", rate)
        clip = self.gradient_clip  # infinity: gradients are not clipped
        check(clip > 0, "optimizer.gradient_clip must be above 0", clip)
        for name in ("min_learning_rate", "warmup_steps", "weight_decay", "epsilon"):
            value = getattr(self, name)
            fits = value is None or 0 <= value < math.inf
            check(fits, f"optimizer.{name} must be at least 0 and finite", value)
        check(
            self.min_learning_rate is None or self.min_learning_rate <= self.learning_rate,
            f"optimizer.min_learning_rate must be at most learning_rate, {self.learning_rate}",
            self.min_learning_rate,
        )
        fits = self.warmup_steps <= MOST_STEPS
        check(fits, f"optimizer.warmup_steps must be at most {MOST_STEPS}", self.warmup_steps)
        for name in ("beta1", "beta2"):
            value = getattr(self, name)
            check(0 <= value < 1, f"optimizer.{name} must be at least 0 and below 1", value)

    @property
    def lowest_learning_rate(self) -> float:
        """What the learning rate decays to."""
        minimum = self.min_learning_rate
        return self.learning_rate / 10 if minimum is None else minimum


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """When to measure the loss on the held-out tokens, and on how many."""

    every: int = 250
    """Steps between evaluations; the last step always evaluates."""
    val_tokens: int = 131072
    """Held-out tokens an evaluation reads, from the first on; fewer where there are fewer."""
    sample_prompts: tuple[str, ...] = ()
    """Prompts that each evaluation continues, into metrics.jsonl and onto the screen."""
    sample_tokens: int = 40
    """Tokens a sample."""
    reference: str | None = None
    """Model, such as gpt2, whose loss on the same tokens the report draws as a line."""
    hellaswag: str | None = None
    """File with rows of HellaSwag, or hub for the validation rows on the Hugging Face hub: each
    evaluation measures the accuracy on them, in completion style."""
    hellaswag_rows: int | None = None
    """First rows of HellaSwag to take; all if not given."""

    def __post_init__(self) -> None:
        check_types(self, "evaluation.")
        fits = self.hellaswag_rows is None or self.hellaswag_rows >= 1
        check(fits, "evaluation.hellaswag_rows must be at least 1", self.hellaswag_rows)
        check(self.hellaswag != "", "evaluation.hellaswag must name a file", self.hellaswag)
        for name in ("every", "val_tokens", "sample_tokens"):
            value = getattr(self, name)
            check(value >= 1, f"evaluation.{name} must be at least 1", value)
        fits = all(self.sample_prompts)
        check(fits, "evaluation.sample_prompts must not be empty", self.sample_prompts)
        check(self.reference != "", "evaluation.reference must name a model", self.reference)


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """When to save, and how many checkpoints to keep."""

    every: int = 1000
    """Steps between checkpoints; the last step always saves."""
    keep_last: int = 2
    """Newest checkpoints that are kept."""
    keep_best: bool = True
    """Save each evaluation with the lowest held-out loss so far, and keep the last of them."""

    def __post_init__(self) -> None:
        check_types(self, "checkpoint.")
        check(self.every >= 1, "checkpoint.every must be at least 1", self.every)
        check(self.keep_last >= 1, "checkpoint.keep_last must be at least 1", self.keep_last)


@dataclass(frozen=True, kw_only=True)
class HistoryConfig:
    """What to keep of the model while it trains, for pictures across the run."""

    moments: int = 0
    """Most moments to keep in the run directory, from before the first step to the last: position
    embeddings, weights, attention and a sample, less than 1 MB each. 0: none."""
    text: str | None = None
    """Text whose attention is kept, its first 32 tokens, and whose first words the sample
    continues; the first held-out tokens if not set."""

    def __post_init__(self) -> None:
        check_types(self, "history.")
        fits = self.moments == 0 or 2 <= self.moments <= MOST_MOMENTS
        check(fits, f"history.moments must be 0, or 2 to {MOST_MOMENTS}", self.moments)
        check(self.text != "", "history.text must have a token", self.text)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A whole training run: what a recipe and `config.toml` hold."""

    model: GPT2Config = field(default_factory=GPT2Config)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    history: HistoryConfig = field(default_factory=HistoryConfig)

    def __post_init__(self) -> None:
        try:
            self.to_toml().encode()
        except UnicodeEncodeError as error:
            start = error.object.rfind("\n", 0, error.start) + 1
            line = error.object[start:].splitlines()[0]
            raise ConfigError(f"a setting must be text in Unicode, got {line!r}") from None
        if self.training.init_from is None:  # else the shape is that of the model there
            self.check_batch()

    def check_batch(self, processes: int = 1) -> None:
        """Make sure that a step divides into micro-batches, as many in each process.

        Raises:
            ConfigError: It does not; the nearest sizes that do are named. Or there is no whole row.
        """
        tokens, length = self.data.train_tokens, self.model.n_positions
        fits = tokens is None or tokens >= length
        check(fits, f"data.train_tokens must be at least n_positions, {length}", tokens)
        short = self.training.short_context
        fits = short is None or length % short == 0
        check(fits, f"training.short_context must divide n_positions, {length}", short)
        per_pass = self.training.micro_batch * self.model.n_positions * processes
        if extra := self.training.batch_tokens % per_pass:
            below = self.training.batch_tokens - extra
            nearest = " or ".join(str(size) for size in (below, below + per_pass) if size)
            times = f" * {processes} processes" if processes > 1 else ""
            raise ConfigError(
                f"training.batch_tokens must be a multiple of micro_batch * n_positions{times} = "
                f"{per_pass}, got {self.training.batch_tokens}; the nearest that fit: {nearest}"
                + self._smaller_micro_batch(processes)
            )

    def _smaller_micro_batch(self, processes: int) -> str:
        """Return a hint at the largest micro_batch with which the step can stay as it is."""
        rows, rest = divmod(self.training.batch_tokens, self.model.n_positions * processes)
        smaller = range(min(self.training.micro_batch - 1, rows), 0, -1)
        fitting = next((size for size in smaller if rest == rows % size == 0), None)
        return f". Or leave it, with training.micro_batch {fitting}" if fitting else ""

    @classmethod
    def names(cls) -> set[str]:
        """Return the names of all settings, such as "optimizer.kind"."""
        return {
            f"{section.name}.{key.name}"
            for section in dataclasses.fields(cls)
            for key in dataclasses.fields(cast(Any, section.type))
        }

    def differences(self, other: Self) -> dict[str, tuple[Any, Any]]:
        """Return each setting, such as "optimizer.kind", that differs: here, and in the other."""
        here, there = dataclasses.asdict(self), dataclasses.asdict(other)
        return {
            f"{section}.{key}": (value, there[section][key])
            for section, values in here.items()
            for key, value in values.items()
            if value != there[section][key]
        }

    @property
    def batch_rows(self) -> int:
        """Rows of n_positions tokens a step."""
        return self.training.batch_tokens // self.model.n_positions

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Read a recipe; what it does not set keeps its default.

        Raises:
            ConfigError: The file is missing or no TOML, or a section, key or value is wrong.
        """
        try:
            sections = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"there is no recipe {path}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not valid TOML: {error}") from None
        return cls.from_sections(sections, str(path))

    @classmethod
    def from_sections(cls, sections: Mapping[str, Any], where: str) -> Self:
        """Read the sections of a recipe; what they do not set keeps its default.

        Raises:
            ConfigError: A section, key or value is wrong; it begins with `where`.
        """
        try:
            return cls(**{name: _section(cls, name, keys) for name, keys in sections.items()})
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None

    def to_sections(self) -> dict[str, dict[str, Any]]:
        """Return every setting that has a value, by section, as `from_sections` takes it."""
        return {
            section: {
                key: str(value) if isinstance(value, Path) else value
                for key, value in values.items()
                if value is not None
            }
            for section, values in dataclasses.asdict(self).items()
        }

    def to_toml(self) -> str:
        """Return every setting as the text of a recipe."""
        parts = []
        for section, values in self.to_sections().items():
            lines = [f"{key} = {toml_text(value)}" for key, value in values.items()]
            parts.append("\n".join([f"[{section}]", *lines, ""]))
        return "\n".join(parts)


def bundled_recipes() -> list[str]:
    """Return the names of the recipes that come with the package, sorted."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def recipe_path(recipe: str) -> Path:
    """Return the file of a recipe.

    Args:
        recipe: Path of a TOML file, or else the name of a bundled recipe.
    Raises:
        ConfigError: It is neither; the bundled recipes are named.
    """
    path = Path(recipe)
    if path.exists() and not path.is_dir():
        return path
    bundled = bundled_recipes()
    if recipe not in bundled:
        raise ConfigError(
            f"there is no recipe {recipe!r}; give the path of a TOML file, or the name of a "
            f"bundled recipe: {', '.join(bundled)}"
        )
    return RECIPES / f"{recipe}.toml"


def _section(run: type, name: str, keys: Any) -> Any:
    kinds = {entry.name: entry.type for entry in dataclasses.fields(run)}
    kind = look_up(kinds, "section", name)
    if not isinstance(keys, dict):
        raise ConfigError(f"{name} must be a section, [{name}], got {keys!r}")
    values = dict(keys)
    preset = values.pop("preset", None) if name == "model" else None
    types = {entry.name: entry.type for entry in dataclasses.fields(kind)}
    for key, value in values.items():
        values[key] = typed(f"{name}.{key}", value, look_up(types, f"key in [{name}]", key))
    defaults = kind() if preset is None else kind.preset(preset)
    return dataclasses.replace(defaults, **values)
