"""`gpt2 VERB ...`: find the verb, run it, and tell a failure in one line."""

import io
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from gpt2.errors import Gpt2Error
from llm_tokenizer import TokenizerError

# A verb is a module of this package with `main(args)`, imported when it is asked for.
VERBS = {
    "demo": "the whole job on text that ships with Python, in minutes on a CPU",
    "prepare": "text to token shards",
    "train": "train a model on token shards, or continue a run",
    "generate": "continue a prompt",
    "eval": "measure a model: perplexity of a text",
    "plot": "pictures of a model or a run",
    "export": "a model as a Hugging Face directory, or as a GGUF file for llama.cpp",
    "bench": "time and memory of the attention backends",
}

NO_COMPILER = "torch.compile needs a C++ compiler such as g++, and there is none; install one"

# OpenMP's threads wait for each other by spinning, by default for milliseconds. On a busy machine
# the spinning thread keeps the one it waits for off the processor. With this count a thread sleeps
# after a fraction of a millisecond. GNU's OpenMP reads GOMP_SPINCOUNT when torch is imported.
SPIN_COUNT = "10000"

DISTRIBUTION = "gpt2-from-scratch"
USAGE = """usage: gpt2 [--verbose] VERB [OPTIONS]   (gpt2 VERB --help tells a verb's options)
       gpt2 --version"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; those of the process if not given.
    Returns:
        The exit code: 0 done, 1 failed, 2 wrong usage, 130 or 143 stopped by a signal.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    args = list(sys.argv[1:] if argv is None else argv)
    verbose = "--verbose" in args
    if verbose:
        args.remove("--verbose")
    if args and args[0] not in (*VERBS, "-h", "--help", "--version"):
        print(f"error: unknown verb {args[0]!r}; known: {', '.join(VERBS)}", file=sys.stderr)
        return 2
    # A console that cannot show a character shows a question mark.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        _run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Gpt2Error, TokenizerError, OSError, MemoryError, RuntimeError) as error:
        no_compiler = "C++ compiler" in str(error)  # torch.compile tells so in a hundred lines
        if isinstance(error, RuntimeError) and "memory" not in str(error) and not no_compiler:
            raise  # a defect of ours; torch tells of exhausted memory in this way, too
        if verbose:
            traceback.print_exc()
        told = (
            NO_COMPILER
            if no_compiler
            else str(error) or "there is not enough memory for this; ask for less at once"
        )
        code = getattr(error, "exit_code", 1)
        # Every rank raises such an error; only rank 0 prints it.
        if os.environ.get("RANK", "0") == "0" or not getattr(error, "said_by_all", False):
            print("error: " * bool(code) + " ".join(told.split("\n")), file=sys.stderr)
        return code
    except KeyboardInterrupt:
        return 130
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 0
    return 0


def _run(args: Sequence[str]) -> None:
    if not args or args[0] in ("-h", "--help"):
        print("\n".join([USAGE, "", *(f"  {verb:10}{does}" for verb, does in VERBS.items())]))
        raise SystemExit(0 if args else 2)
    verb, *rest = args
    if verb == "--version":
        from importlib.metadata import version

        print(DISTRIBUTION, version(DISTRIBUTION))
        return
    import_module(f"gpt2.cli.{verb}").main(rest)
