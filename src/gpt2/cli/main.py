"""`gpt2`: the entry of the command line. It imports little, so that Ctrl-C is caught early."""

import sys


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
