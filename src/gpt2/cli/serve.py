"""`gpt2 serve`: a completions API, and a page to play with the model."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Annotated

import tyro

from gpt2.cli.model_flags import EngineDtype, EngineFlags
from gpt2.cli.parsing import UsageError, parse
from gpt2.config import ServeConfig
from gpt2.errors import Gpt2Error

DEFAULT_MODEL = "gpt2"
KEY_VARIABLE = "GPT2_API_KEY"
EXTRA = ("fastapi", "prometheus_client", "uvicorn")


class MissingExtraError(Gpt2Error):
    """What the server needs is not installed."""


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Serve models over HTTP: OpenAI's completions API, and a page to play with them."""

    model: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="[NAME=]M")]
    """A model, as of gpt2 generate; gpt2 if none is given. Requests ask for it by NAME, or by M as
    it is given here. Give --model several times for several models; the first is taken where a
    request names none."""
    device: str = "auto"
    """cpu, cuda or mps; auto takes the fastest there is."""
    dtype: EngineDtype = "auto"
    """Of the weights. auto: the fastest that has them exactly; int8 and int4 quantize them, on a
    CPU alone, for more speed and a little less quality."""
    threads: int | None = None
    """Of a CPU; a thread a core if not given."""
    settings: Annotated[ServeConfig, tyro.conf.arg(name="")] = field(default_factory=ServeConfig)

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C.

        Raises:
            Gpt2Error: A model cannot be opened, or the address cannot be listened on.
        """
        paths = paths_by_name(self.model or (DEFAULT_MODEL,))
        config = with_key(self.settings, os.environ.get(KEY_VARIABLE))
        config.require_protection()
        require_extra()
        from gpt2.serve.server import serve

        asyncio.run(serve(paths, self._opener, config, announce))

    def _opener(self, path: str) -> EngineFlags:
        return EngineFlags(model=path, device=self.device, dtype=self.dtype, threads=self.threads)


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    parse(Serve, args, verb="serve", repeatable=["--model"]).run()


def paths_by_name(models: Sequence[str]) -> dict[str, str]:
    """Return the path of each model by its name, from NAME=PATH or PATH.

    >>> paths_by_name(["runs/demo", "large=gpt2-large"])
    {'runs/demo': 'runs/demo', 'large': 'gpt2-large'}

    Raises:
        UsageError: Two have the same name, or a name or a path is empty.
    """
    paths: dict[str, str] = {}
    for model in models:
        before, equals, after = model.partition("=")
        path = after if equals else before
        if not (before and path):
            raise UsageError(f"--model must be a model or NAME=MODEL, got {model!r}")
        if before in paths:
            raise UsageError(f"two models are named {before!r}; give one another name, as b={path}")
        paths[before] = path
    return paths


def with_key(config: ServeConfig, key: str | None) -> ServeConfig:
    """Return settings with the key of the environment, unless a flag gave one."""
    return config if config.api_key is not None or not key else replace(config, api_key=key)


def require_extra(verb: str = "serve") -> None:
    """Check that the packages of the server are installed.

    Args:
        verb: That needs them.
    Raises:
        MissingExtraError: One is not.
    """
    missing = [name.replace("_", "-") for name in EXTRA if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"gpt2 {verb} needs {' and '.join(missing)}; pip install {' '.join(missing)}"
        )


def announce(url: str) -> None:
    """Print where the server is."""
    print(url, flush=True)
