"""`gpt2 VERB ...`: find the verb, run it, and print a failure in one line."""

import os
import sys
import time
import traceback
from collections.abc import Sequence
from importlib import import_module
from itertools import takewhile

from gpt2.cli.parsing import UsageError, one_line
from gpt2.cli.streams import OutputError, is_first_on_host, safe_streams
from gpt2.errors import Gpt2Error
from gpt2.progress import log
from llm_tokenizer import TokenizerError

# A verb is a module of this package with `main(args)`, imported when it is asked for.
VERBS = {
    "demo": "the whole job on text that ships with Python, in minutes on a CPU",
    "prepare": "text to token shards",
    "train": "train a model on token shards, or continue a run",
    "generate": "continue a prompt",
    "eval": "measure a model: perplexity, HellaSwag, LAMBADA, CORE and more; or a run",
    "plot": "pictures of a model or a run",
    "gallery": "a model's pictures and a look inside it, as one page that opens offline",
    "serve": "a completions API as OpenAI's, and a page to play with the model",
    "watch": "a page that shows runs while they train",
    "export": "a model as a Hugging Face directory, or as a GGUF file for llama.cpp",
    "bench": "speed and memory of attention, generation and training, beside other programs",
    "completion": "a script for bash or zsh that completes verbs and flags",
}

NO_COMPILER = "torch.compile needs a C++ compiler such as g++, and there is none; install one"
NO_MEMORY = "there is not enough memory for this; ask for less at once"

# OpenMP's threads wait for each other by spinning, by default for milliseconds. On a busy machine
# the spinning thread keeps the one it waits for off the processor. With this count a thread sleeps
# after a fraction of a millisecond. GNU's OpenMP reads GOMP_SPINCOUNT when torch is imported.
SPIN_COUNT = "10000"

# In which the first process of a host prints why all end: torchrun ends it once another has ended.
SECONDS_TO_PRINT = 0.3

DISTRIBUTION, VERBOSE = "gpt2-from-scratch", "--verbose"
USAGE = """usage: gpt2 [--verbose] VERB [OPTIONS]   (gpt2 VERB --help lists a verb's options)
       gpt2 help [VERB]
       gpt2 --version"""


def run(argv: Sequence[str]) -> int:
    """Run a verb with its arguments, and return the exit code; see `gpt2.cli.main`."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    if "RANK" in os.environ:  # a lost connection, which is explained in a line, is pages of torch's
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    verbose = VERBOSE in _flags(argv)
    with safe_streams():
        try:
            print(end="")  # fails at once if stdout is closed, not after hours of work
            code = _run(_without_verbose(argv))
            sys.stdout.flush()
        except (Gpt2Error, TokenizerError, OSError, MemoryError, RuntimeError) as error:
            return _failed(error, verbose)
        return code


def _flags(argv: Sequence[str]) -> list[str]:
    """Return the arguments before --, after which all are texts."""
    return list(takewhile(lambda arg: arg != "--", argv))


def _without_verbose(argv: Sequence[str]) -> list[str]:
    flags = _flags(argv)
    if flags.count(VERBOSE) > 1:
        raise UsageError(f"{VERBOSE} is given twice; give it once")
    return [*(flag for flag in flags if flag != VERBOSE), *argv[len(flags) :]]


def _failed(error: Exception, verbose: bool) -> int:
    """Print a failure in one line, and return its exit code."""
    if isinstance(error, OutputError) and error.is_silent:
        return 1
    text = str(error)
    no_compiler = "C++ compiler" in text  # torch.compile writes a hundred lines about it
    if isinstance(error, RuntimeError) and "memory" not in text and not no_compiler:
        raise error  # a defect of this program; torch raises it for exhausted memory, too
    code = error.exit_code if isinstance(error, Gpt2Error) else 1
    if verbose and not isinstance(error, UsageError):
        traceback.print_exc()
    if no_compiler:
        text = NO_COMPILER
    # Every rank raises such an error; only the first one of a host prints it.
    if is_first_on_host() or not getattr(error, "raised_on_every_rank", False):
        log("error: " * bool(code) + one_line(text or NO_MEMORY))
    else:
        time.sleep(SECONDS_TO_PRINT)
    return code


def _run(args: Sequence[str]) -> int:
    verb, *rest = args or ["--help"]
    if verb == "help":  # gpt2 help VERB is gpt2 VERB --help
        verb, *rest = [*rest, "--help"]
    if verb in ("-h", "--help"):
        print("\n".join([USAGE, "", *(f"  {verb:12}{does}" for verb, does in VERBS.items())]))
        return 0 if args else 2
    if verb == "--version":
        from importlib.metadata import version

        print(DISTRIBUTION, version(DISTRIBUTION))
        return 0
    if verb not in VERBS:
        raise UsageError(f"unknown verb {verb!r}; known: {', '.join(VERBS)}")
    try:
        import_module(f"gpt2.cli.{verb}").main(rest)
    except SystemExit as exit_:  # after --help
        return exit_.code if isinstance(exit_.code, int) else 0
    return 0
