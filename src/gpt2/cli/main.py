"""`gpt2`: the entry of the command line. It imports little, so that Ctrl-C is caught early."""

import os
import sys


def program() -> None:
    """Run the command line of this process, and end the process with its exit code.

    One of several ranks ends without the interpreter's own teardown: a thread of gloo may still
    wait for the GIL to release its last tensor, and up to Python 3.13 that aborts the process.
    """
    code = main()
    if os.environ.get("WORLD_SIZE", "1") == "1":
        sys.exit(code)
    import atexit
    from contextlib import suppress

    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # none, broken, closed
            stream.flush()
    os._exit(code)


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; those of the process if not given.
    Returns:
        The exit code: 0 done, 1 failed, 2 wrong usage; 129, 130 or 143: stopped by SIGHUP, SIGINT
        or SIGTERM.
    """
    try:
        from gpt2.cli.verbs import run

        return run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        return 130
    except RuntimeError as error:
        if isinstance(error.__cause__, KeyboardInterrupt):  # Python 3.11, amid making a class
            return 130
        raise
