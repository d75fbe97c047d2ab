"""What tests of several packages share: a tokenizer and a model that run in milliseconds."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, settings

from gpt2.config import GPT2Config, PrepareConfig
from gpt2.files.pretrained import GPT2
from gpt2.prepare.pipeline import prepare
from gpt2.prepare.sources import in_memory
from gpt2.train.loop import Trainer
from llm_tokenizer import Tokenizer
from llm_tokenizer.vocabulary import Vocabulary

# No test depends on how fast the machine is, and each run tries the same examples.
settings.register_profile(
    "suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")

TEXT = (Path(__file__).parents[1] / "LICENSE").read_text(encoding="utf-8")
# No two sizes are equal, so that a mixed-up dimension shows.
SMALL = GPT2Config(
    vocab_size=300,
    n_positions=24,
    n_embd=20,
    n_layer=3,
    n_head=4,
    embd_pdrop=0.0,
    attn_pdrop=0.0,
    resid_pdrop=0.0,
)


@pytest.fixture(autouse=True)
def without_terminal_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on what the terminal that starts the suite asks for."""
    for name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def kept_apart(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command keeps in the home directory goes elsewhere."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """A vocabulary of 300 tokens, <|endoftext|> being 299."""
    return Tokenizer.train([TEXT], 300)


@pytest.fixture
def model(tokenizer: Tokenizer) -> GPT2:
    """A small GPT-2 whose weights are large enough for its logits to differ."""
    model = GPT2(SMALL, tokenizer=tokenizer, seed=1).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0)
    return model


@pytest.fixture
def gapped_model(tokenizer: Tokenizer) -> GPT2:
    """A model of 420 ids, whose vocabulary has none from 270 to 309 and from 340."""
    known = tokenizer.vocabulary
    moved = {token: i if i < 270 else i + 40 for token, i in known.token_ids.items()}
    vocabulary = Vocabulary(moved, known.merges, {"<|endoftext|>": 339})
    return GPT2(replace(SMALL, vocab_size=420), tokenizer=Tokenizer(vocabulary), seed=2).eval()


@pytest.fixture(scope="session")
def learned_model(tokenizer: Tokenizer) -> GPT2:
    """A model of 48 positions that has learned the first long lines of the license by heart."""
    config = replace(SMALL, n_positions=48, n_layer=2)
    model = GPT2(config, tokenizer=tokenizer, seed=3)
    lines = [line for line in TEXT.splitlines() if line.count(" ") > 4]
    rows = [tokenizer.encode_ordinary(line)[: config.n_positions] for line in lines[:9]]
    ids = torch.tensor([row + [299] * (config.n_positions - len(row)) for row in rows])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(80):
        optimizer.zero_grad()
        logits = model(ids)[:, :-1]
        F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture
def offline_lm_eval(monkeypatch: pytest.MonkeyPatch) -> None:
    """lm-eval asks no server for data, and starts no processes."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("DISABLE_MULTIPROC", "1")  # its bootstrap


@pytest.fixture
def ids() -> torch.Tensor:
    """Two rows of 16 random ids."""
    return torch.randint(0, 300, (2, 16), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="session")
def shards(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of token shards: the paragraphs of the license, one in three held out."""
    directory = tmp_path_factory.mktemp("shards")
    source = in_memory("the license", TEXT.split("\n\n"))
    prepare(source, tokenizer, directory, PrepareConfig(hold_out=1 / 3))
    return directory


@pytest.fixture
def dies_at() -> str:
    """The text of a function for a program: it ends its process at the n-th of certain calls.

    They are those that make a file lasting, or that rename or remove one.
    """
    return """
import os

def dies_at(number):
    left = [number]
    def dying(call):
        def instead(*args, **kwargs):
            if left[0] == 0:
                os._exit(9)
            left[0] -= 1
            return call(*args, **kwargs)
        return instead
    for name in ("fsync", "replace", "rename", "unlink", "rmdir"):
        setattr(os, name, dying(getattr(os, name)))
"""


@pytest.fixture
def signal_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Send SIGTERM to this process as soon as a step has been taken."""

    def arrange(step: int) -> None:
        take_step = Trainer.take_step

        def take_step_then_signal(trainer: Trainer) -> dict[str, Any]:
            row = take_step(trainer)
            if row["step"] == step:
                os.kill(os.getpid(), signal.SIGTERM)
            return row

        monkeypatch.setattr(Trainer, "take_step", take_step_then_signal)

    return arrange
