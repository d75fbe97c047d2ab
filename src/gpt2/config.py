"""Every setting of the package: frozen, checked when made, and free of torch."""

import dataclasses
import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args, get_origin

from gpt2.errors import ConfigError

SETTINGS_FILE = "config.toml"  # of a run directory
RECIPES = Path(__file__).parent / "recipes"  # those that come with the package

AttentionBackend = Literal["manual", "flash"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
WeightDtype = Literal["auto", "float32", "bfloat16", "float16"]
Activation = Literal[
    "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu", "relu", "silu", "swish"
]  # the first three are one function
OptimizerKind = Literal["adamw", "muon", "normuon"]
Parallelism = Literal["ddp", "fsdp"]
Tracker = Literal["tensorboard", "wandb"]

MOST_STEPS = 10**8 - 1  # eight digits, as the names of checkpoints have them
LARGEST_SIZE = 2**24  # of any dimension: far beyond every model, and products stay below 2**63


@dataclass(frozen=True, kw_only=True)
class GPT2Config:
    """The shape of a GPT-2, in the names of Hugging Face's config.json.

    >>> GPT2Config.preset("gpt2-xl").n_layer
    48
    """

    vocab_size: int = 50257
    """Tokens in the vocabulary."""
    n_positions: int = 1024
    """Longest context, in tokens."""
    n_embd: int = 768
    """Channels of the residual stream."""
    n_layer: int = 12
    """Blocks."""
    n_head: int = 12
    """Attention heads a block."""
    n_inner: int | None = None
    """Channels inside the MLP; 4 * n_embd if not set."""
    activation_function: Activation = "gelu_new"
    """Between the two projections of the MLP; the released models have gelu_new."""
    layer_norm_epsilon: float = 1e-5
    """Added to the variance in every LayerNorm."""
    scale_attn_weights: bool = True
    """Divide attention scores by sqrt(channels a head)."""
    scale_attn_by_inverse_layer_idx: bool = False
    """Divide the attention scores of the n-th block by n, too."""
    reorder_and_upcast_attn: bool = False
    """Compute attention scores in float32, whatever the dtype."""
    tie_word_embeddings: bool = True
    """Use the token embeddings as the head, too."""
    embd_pdrop: float = 0.1
    """Dropout rate of the embeddings."""
    attn_pdrop: float = 0.1
    """Dropout rate of the attention weights."""
    resid_pdrop: float = 0.1
    """Dropout rate of what each block adds to the residual stream."""
    initializer_range: float = 0.02
    """Standard deviation of the initial weights."""

    def __post_init__(self) -> None:
        for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner"):
            size = getattr(self, name)
            fits = size is None or 1 <= size <= LARGEST_SIZE
            _check(fits, f"{name} must be 1 to {LARGEST_SIZE}", size)
        for name in ("embd_pdrop", "attn_pdrop", "resid_pdrop"):
            rate = getattr(self, name)
            _check(0 <= rate < 1, f"{name} must be at least 0 and below 1", rate)
        _check_choice("activation_function", self.activation_function, Activation)
        _check(
            0 < self.layer_norm_epsilon < math.inf,
            "layer_norm_epsilon must be above 0",
            self.layer_norm_epsilon,
        )
        _check(
            self.initializer_range >= 0,
            "initializer_range must be at least 0",
            self.initializer_range,
        )
        if extra := self.n_embd % self.n_head:
            raise ConfigError(
                f"n_embd must be a multiple of n_head, got n_embd={self.n_embd} and "
                f"n_head={self.n_head}; the next that fits is {self.n_embd - extra + self.n_head}"
            )

    @property
    def inner(self) -> int:
        """Channels inside the MLP."""
        return 4 * self.n_embd if self.n_inner is None else self.n_inner

    @classmethod
    def preset(cls, name: str) -> Self:
        """Return the shape of a released model.

        Args:
            name: "gpt2", "gpt2-medium", "gpt2-large" or "gpt2-xl".
        Raises:
            ConfigError: No released model has this name.
        """
        return cls().with_preset(name)

    def with_preset(self, name: str) -> Self:
        """Return this shape with the layers, heads and channels of a released model.

        Raises:
            ConfigError: No released model has this name.
        """
        return dataclasses.replace(self, **_known(PRESETS, "preset", name))

    @classmethod
    def from_hugging_face(cls, entries: Mapping[str, Any]) -> Self:
        """Read the entries of a config.json.

        Raises:
            ConfigError: It is not a GPT-2's, or an entry asks for mathematics that this
                implementation does not have.
        """
        for key, supported in HUGGING_FACE_FIXED.items():
            if entries.get(key, supported) != supported:
                raise ConfigError(
                    f"config.json: {key} must be {json.dumps(supported)}, the GPT-2 that is "
                    f"implemented here, got {json.dumps(entries[key])}"
                )
        for key in HUGGING_FACE_UNSUPPORTED:
            if entries.get(key):
                raise ConfigError(
                    f"config.json: {key} changes the model in a way that is not implemented here; "
                    f"wanted none, got {json.dumps(entries[key]):.80}"
                )
        types = {entry.name: entry.type for entry in dataclasses.fields(cls)}
        values: dict[str, Any] = {}
        for key, value in entries.items():
            name = HUGGING_FACE_ALIASES.get(key, key)
            if name in types:
                value = _typed(f"config.json: {key}", value, types[name])
                same = name not in values or values[name] == value
                _check(same, f"config.json: {key} must be {name}, {values.get(name)}", value)
                values[name] = value
        try:
            return cls(**values)
        except ConfigError as error:
            raise ConfigError(f"config.json: {error}") from None

    def to_hugging_face(self) -> dict[str, Any]:
        """Return the entries of a config.json."""
        return {
            "architectures": ["GPT2LMHeadModel"],
            **HUGGING_FACE_FIXED,
            **dataclasses.asdict(self),
        }


PRESETS: dict[str, dict[str, int]] = {
    "gpt2": {"n_layer": 12, "n_head": 12, "n_embd": 768},
    "gpt2-medium": {"n_layer": 24, "n_head": 16, "n_embd": 1024},
    "gpt2-large": {"n_layer": 36, "n_head": 20, "n_embd": 1280},
    "gpt2-xl": {"n_layer": 48, "n_head": 25, "n_embd": 1600},
}

# Entries of config.json that change the mathematics, and the one value of each that is implemented.
HUGGING_FACE_FIXED: dict[str, Any] = {
    "model_type": "gpt2",
    "add_cross_attention": False,
}
# Entries that do so unless they are empty: compressed weights, removed heads, code of its own.
HUGGING_FACE_UNSUPPORTED = ("quantization_config", "pruned_heads", "auto_map")
# Names of other models that transformers takes for GPT-2's.
HUGGING_FACE_ALIASES = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """What of a source becomes which tokens: the same settings, the same shards."""

    text_column: str = "text"
    """Column of a parquet file, or key of a JSON line, that holds the text."""
    separator: str | None = None
    """Text between two documents of a .txt file, such as "\\n"; without it a file is a document."""
    hold_out: float = 0.1
    """Share of the documents that is held out for evaluation, while there are val_tokens."""
    val_tokens: int | None = None
    """Held-out tokens at most, over all parts, but for the end of a document of megabytes;
    shard_tokens if not set. The rest is trained on."""
    shard_tokens: int = 100_000_000
    """Tokens a shard."""
    seed: int = 0
    """Decides which documents are held out."""
    part: str = "1/1"
    """3/16 takes the third of 16 disjoint parts, which together are the whole."""

    def __post_init__(self) -> None:
        _check(bool(self.text_column), "text_column must be a name", self.text_column)
        _check(self.separator != "", "separator must be some text", self.separator)
        fits = self.hold_out == 0 or 1e-9 <= self.hold_out < 1
        _check(fits, "hold_out must be 0, or at least 1e-9 and below 1", self.hold_out)
        fits = self.val_tokens is None or self.val_tokens >= 0
        _check(fits, "val_tokens must be at least 0", self.val_tokens)
        fits = 1 <= self.shard_tokens < 2**31  # which the header of a shard holds
        _check(fits, "shard_tokens must be at least 1 and below 2**31", self.shard_tokens)
        check_seed("seed", self.seed)
        match = re.fullmatch(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,8})", self.part)
        fits = match is not None and int(match[1]) <= int(match[2])
        _check(fits, "part must be a number and how many there are, such as 3/16", self.part)

    @property
    def part_number(self) -> int:
        """Which part, the first being 0."""
        return int(self.part.partition("/")[0]) - 1

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return int(self.part.partition("/")[2])

    @property
    def most_val_tokens(self) -> int:
        """Held-out tokens at most in this part."""
        whole = self.shard_tokens if self.val_tokens is None else self.val_tokens
        return -(-whole // self.parts)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the tokens are and in which order they come."""

    directory: Path = Path("data")
    """Folder of token shards, as `gpt2 prepare` writes it."""
    seed: int = 0
    """Seed of the order of the rows."""
    train_tokens: int | None = None
    """Train on the first so many tokens only; as many as batch_tokens: on one batch, again and
    again, which a sound model learns by heart."""

    def __post_init__(self) -> None:
        check_seed("data.seed", self.seed)
        fits = self.train_tokens is None or self.train_tokens >= 1
        _check(fits, "data.train_tokens must be at least 1", self.train_tokens)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How long and in what portions to train."""

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
    """Arithmetic of the matrix products; weights stay float32. auto: bfloat16 where it is fast."""
    device: str = "auto"
    """cpu, cuda or mps; auto takes the fastest there is."""
    compile: bool = False
    """Compile the blocks with torch.compile: faster steps after a minute or so."""
    attention: AttentionBackend = "flash"
    """Attention backend of every block, or of attention_blocks."""
    attention_blocks: tuple[int, ...] | None = None
    """Blocks that get this backend, the first being 0; all if not set, the others flash."""
    gradient_checkpointing: bool = False
    """Recompute each block in the backward pass: less memory, more time."""
    parallel: Parallelism = "ddp"
    """With several processes: ddp, each holds the whole model; fsdp, each holds its share."""
    track: Tracker | None = None
    """Send the metrics to TensorBoard, into the run directory, or to Weights & Biases, too."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_tokens", "micro_batch"):
            value = getattr(self, name)
            _check(value >= 1, f"training.{name} must be at least 1", value)
            most = 2**40 if name == "batch_tokens" else MOST_STEPS
            _check(value <= most, f"training.{name} must be at most {most}", value)
        fits = self.short_context is None or self.short_context >= 1
        _check(fits, "training.short_context must be at least 1", self.short_context)
        share = self.short_context_share
        _check(0 <= share <= 1, "training.short_context_share must be 0 to 1", share)
        _check(self.init_from != "", "training.init_from must name a model", self.init_from)
        check_seed("training.seed", self.seed)
        _check_choice("training.dtype", self.dtype, Dtype)
        _check_choice("training.attention", self.attention, AttentionBackend)
        _check_choice("training.parallel", self.parallel, Parallelism)
        if self.track is not None:
            _check_choice("training.track", self.track, Tracker)
        fits = self.max_hours is None or self.max_hours > 0
        _check(fits, "training.max_hours must be above 0", self.max_hours)


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """The optimizer and its learning rate: linear warm-up, then cosine decay."""

    kind: OptimizerKind = "adamw"
    """muon, or normuon, which balances its rows: for the matrices inside the blocks, with AdamW
    for the rest."""
    learning_rate: float = 6e-4
    """Peak, reached at the end of the warm-up."""
    embedding_learning_rate: float | None = None
    """Peak of the token and position embeddings, whose minimum is in the same ratio to
    min_learning_rate; learning_rate if not set."""
    min_learning_rate: float = 6e-5
    """Approached towards the last step."""
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
        _check_choice("optimizer.kind", self.kind, OptimizerKind)
        for name in ("learning_rate", "gradient_clip"):
            value = getattr(self, name)
            _check(value > 0, f"optimizer.{name} must be above 0", value)
        rate = self.embedding_learning_rate
        _check(rate is None or rate > 0, "optimizer.embedding_learning_rate must be above 0", rate)
        _check(
            self.min_learning_rate <= self.learning_rate,
            f"optimizer.min_learning_rate must be at most learning_rate, {self.learning_rate}",
            self.min_learning_rate,
        )
        for name in ("min_learning_rate", "warmup_steps", "weight_decay", "epsilon"):
            value = getattr(self, name)
            _check(value >= 0, f"optimizer.{name} must be at least 0", value)
        fits = self.warmup_steps <= MOST_STEPS
        _check(fits, f"optimizer.warmup_steps must be at most {MOST_STEPS}", self.warmup_steps)
        for name in ("beta1", "beta2"):
            value = getattr(self, name)
            _check(0 <= value < 1, f"optimizer.{name} must be at least 0 and below 1", value)


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

    def __post_init__(self) -> None:
        for name in ("every", "val_tokens", "sample_tokens"):
            value = getattr(self, name)
            _check(value >= 1, f"evaluation.{name} must be at least 1", value)
        fits = all(self.sample_prompts)
        _check(fits, "evaluation.sample_prompts must not be empty", self.sample_prompts)
        _check(self.reference != "", "evaluation.reference must name a model", self.reference)


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
        _check(self.every >= 1, "checkpoint.every must be at least 1", self.every)
        _check(self.keep_last >= 1, "checkpoint.keep_last must be at least 1", self.keep_last)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A whole training run: what a recipe and `config.toml` hold."""

    model: GPT2Config = field(default_factory=GPT2Config)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)

    def __post_init__(self) -> None:
        try:
            self.to_toml().encode()
        except UnicodeEncodeError as error:
            raise ConfigError(f"a setting must be text in Unicode, got {error.object!r}") from None
        if self.training.init_from is None:  # else the shape is that of the model there
            self.check_batch()

    def check_batch(self, processes: int = 1) -> None:
        """Make sure that a step divides into micro-batches, as many in each process.

        Raises:
            ConfigError: It does not; the nearest sizes that do are named. Or there is no whole row.
        """
        tokens, length = self.data.train_tokens, self.model.n_positions
        fits = tokens is None or tokens >= length
        _check(fits, f"data.train_tokens must be at least n_positions, {length}", tokens)
        short = self.training.short_context
        fits = short is None or length % short == 0
        _check(fits, f"training.short_context must divide n_positions, {length}", short)
        per_pass = self.training.micro_batch * self.model.n_positions * processes
        if extra := self.training.batch_tokens % per_pass:
            below = self.training.batch_tokens - extra
            nearest = " or ".join(str(size) for size in (below, below + per_pass) if size)
            times = f" * {processes} processes" if processes > 1 else ""
            raise ConfigError(
                f"training.batch_tokens must be a multiple of micro_batch * n_positions{times} = "
                f"{per_pass}, got {self.training.batch_tokens}; the nearest that fit: {nearest}"
            )

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
        pairs = (
            (f"{section.name}.{key.name}", (getattr(mine, key.name), getattr(theirs, key.name)))
            for section in dataclasses.fields(self)
            for mine, theirs in [(getattr(self, section.name), getattr(other, section.name))]
            for key in dataclasses.fields(mine)
        )
        return {name: (ours, theirs) for name, (ours, theirs) in pairs if ours != theirs}

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
            lines = [f"{key} = {_toml(value)}" for key, value in values.items()]
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


# What a run may change when it is resumed: up to rounding, and to other draws of dropout, the
# mathematics stay.
CHANGEABLE = frozenset(
    f"{section}.{key}"
    for section, keys in {
        "data": ["directory"],
        "training": [
            *("micro_batch", "max_hours", "device", "compile", "attention", "attention_blocks"),
            *("gradient_checkpointing", "parallel", "track"),
        ],
        "evaluation": [entry.name for entry in dataclasses.fields(EvaluationConfig)],
        "checkpoint": [entry.name for entry in dataclasses.fields(CheckpointConfig)],
    }.items()
    for key in keys
)


# What it may not change at all: weights and optimizer would not fit.
SHAPES = frozenset(
    [
        *(f"model.{key}" for key in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")),
        *("model.n_inner", "model.tie_word_embeddings", "optimizer.kind"),
    ]
)


@dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """How to continue a prompt."""

    max_new_tokens: int = 100
    """Tokens to write at the most."""
    temperature: float = 1.0
    """Divides the logits: 0 is greedy, below 1 safer, above 1 more varied."""
    top_k: int | None = None
    """Sample from the k likeliest tokens only."""
    num_samples: int = 1
    """Continuations of each prompt."""
    seed: int | None = None
    """Seed of the draws; a new one each time if not set."""

    def __post_init__(self) -> None:
        _check(self.max_new_tokens >= 1, "max_new_tokens must be at least 1", self.max_new_tokens)
        _check(self.temperature >= 0, "temperature must be at least 0", self.temperature)
        _check(self.top_k is None or self.top_k >= 1, "top_k must be at least 1", self.top_k)
        _check(self.num_samples >= 1, "num_samples must be at least 1", self.num_samples)
        if self.seed is not None:
            check_seed("seed", self.seed)


def check_seed(name: str, seed: int) -> None:
    """Raise ConfigError for a seed that not every generator takes."""
    _check(0 <= seed < 2**63, f"{name} must be at least 0 and below 2**63", seed)


def _section(run: type, name: str, keys: Any) -> Any:
    kinds = {entry.name: entry.type for entry in dataclasses.fields(run)}
    kind = _known(kinds, "section", name)
    if not isinstance(keys, dict):
        raise ConfigError(f"{name} must be a section, [{name}], got {keys!r}")
    values = dict(keys)
    preset = values.pop("preset", None) if name == "model" else None
    types = {entry.name: entry.type for entry in dataclasses.fields(kind)}
    for key, value in values.items():
        values[key] = _typed(f"{name}.{key}", value, _known(types, f"key in [{name}]", key))
    defaults = kind() if preset is None else kind.preset(preset)
    return dataclasses.replace(defaults, **values)


def _typed(name: str, value: Any, kind: Any) -> Any:
    """Return `value` as `kind`: TOML writes 1 for 1.0 and a string for a path."""
    kinds = _options(kind)
    if float in kinds and type(value) is int and abs(value) < 2**53:
        return float(value)
    if Path in kinds and isinstance(value, str):
        return Path(value)
    if isinstance(value, list):
        for entries in (kind for kind in kinds if get_origin(kind) is tuple):
            if set(map(type, value)) <= {get_args(entries)[0]}:
                return tuple(value)
    wanted = " or ".join(
        f"a list of {get_args(one)[0].__name__}"
        if get_origin(one) is tuple
        else getattr(one, "__name__", str(one))
        for one in kinds
    )
    _check(type(value) in kinds or value in kinds, f"{name} must be {wanted}", value)
    return value


def _options(kind: Any) -> tuple[Any, ...]:
    """Return the types of a union and the values of a Literal; of another type itself."""
    if get_origin(kind) is tuple or not get_args(kind):
        return (kind,)
    return tuple(option for part in get_args(kind) for option in _options(part))


def _toml(value: Any) -> str:
    """Return a setting as TOML writes it: as JSON does, but for infinity."""
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _known(table: Mapping[str, Any], what: str, name: Any) -> Any:
    if not isinstance(name, str) or name not in table:
        raise ConfigError(f"unknown {what} {name!r}; known: {', '.join(table)}")
    return table[name]


def _check_choice(name: str, value: str, choices: Any) -> None:
    known = get_args(choices)
    _check(value in known, f"{name} must be one of {', '.join(known)}", value)


def _check(fits: bool, wanted: str, got: object) -> None:
    if not fits:
        raise ConfigError(f"{wanted}, got {got!r}")
