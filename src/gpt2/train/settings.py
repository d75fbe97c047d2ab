"""The settings of a run with what depends on this machine, on a model, or on the data filled in."""

from dataclasses import replace
from pathlib import Path

from gpt2 import devices
from gpt2.config import RunConfig
from gpt2.data.manifest import MANIFEST_FILE
from gpt2.files.checkpoint import verify_checkpoint
from gpt2.files.hugging_face import read_config
from gpt2.files.names import is_local, locate
from gpt2.files.run_directory import CHECKPOINT_MANIFEST
from gpt2.progress import log
from gpt2.train.distributed import Processes
from gpt2.train.hellaswag import HUB
from llm_tokenizer import Tokenizer
from llm_tokenizer.files import VOCAB_FILE


def resolve(config: RunConfig, processes: Processes) -> RunConfig:
    """Return the settings with absolute paths, and the dtype that rank 0 measured for "auto"."""
    measured = devices.select_dtype(config.training.dtype, processes.device)
    known = list(devices.DTYPES.values())  # each rank has measured; all take what rank 0 found
    dtype = known[processes.broadcast(known.index(measured))]
    reference = config.evaluation.reference
    if reference is not None and is_local(reference):
        reference = str(Path(reference).resolve())
    hellaswag = config.evaluation.hellaswag
    if hellaswag is not None and hellaswag != HUB:
        hellaswag = str(Path(hellaswag).resolve())
    return replace(
        config,
        data=replace(config.data, directory=config.data.directory.resolve()),
        training=replace(config.training, dtype=devices.name_dtype(dtype)),
        evaluation=replace(config.evaluation, reference=reference, hellaswag=hellaswag),
    )


def warn(config: RunConfig, processes: Processes) -> None:
    """Log what in the settings is legal and probably a mistake."""
    dtype = devices.select_dtype(config.training.dtype, processes.device)
    warnings = [devices.slow_dtype_warning(dtype, processes.device)]
    warmup, steps = config.optimizer.warmup_steps, config.training.steps
    if warmup >= steps > 1:
        warnings.append(
            f"the learning rate rises over optimizer.warmup_steps, {warmup}, and the run has "
            f"{steps} steps: it never reaches its peak"
        )
    for warning in warnings:
        if warning and processes.is_rank_0:
            log(warning)


def with_shape_of_init_from(config: RunConfig) -> RunConfig:
    """Return the settings with the shape of the model that `training.init_from` names, if any.

    Raises:
        CheckpointError, ConfigError: There is no such model, or it is no GPT-2.
    """
    source = config.training.init_from
    if source is None:
        return config
    directory = locate(source)
    if (directory / CHECKPOINT_MANIFEST).exists():
        verify_checkpoint(directory)
    shape, own = read_config(directory), config.model
    model = replace(
        shape,
        n_positions=min(shape.n_positions, own.n_positions),
        embd_pdrop=own.embd_pdrop,
        attn_pdrop=own.attn_pdrop,
        resid_pdrop=own.resid_pdrop,
    )
    source = str(directory.resolve()) if is_local(source) else source
    return replace(config, model=model, training=replace(config.training, init_from=source))


def sized_by_data(config: RunConfig) -> RunConfig:
    """Return the settings with one embedding for each token of the data's vocabulary.

    They stay as they are where no vocabulary lies beside the shards, as with other programs' files
    of GPT-2's ids, or where the shape is that of `training.init_from`.
    """
    directory = config.data.directory
    parts = sorted(path.parent for path in directory.glob(f"*/{MANIFEST_FILE}"))
    folders = [folder for folder in (directory, *parts) if (folder / VOCAB_FILE).is_file()]
    if config.training.init_from is not None or not folders:
        return config
    return replace(
        config, model=replace(config.model, vocab_size=Tokenizer.load(folders[0]).n_vocab)
    )
