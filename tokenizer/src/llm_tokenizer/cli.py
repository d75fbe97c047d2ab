"""`llm-tokenizer`: run a verb, and turn what goes wrong into one line and an exit code.

The modules of the package are imported inside `main`, where Ctrl-C is caught.
"""

import sys


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit code: 0 done, 1 failed, 130 stopped by Ctrl-C.

    Raises:
        SystemExit: 2 for wrong usage; 0 after --help and --version.
    """
    try:
        return _run(argv)
    except KeyboardInterrupt:
        return 130


def _run(argv: list[str] | None) -> int:
    from llm_tokenizer import verbs
    from llm_tokenizer.errors import TokenizerError
    from llm_tokenizer.showing import printable
    from llm_tokenizer.streams import flush_stdout, to_stderr

    if sys.stdout is None:
        to_stderr("error: cannot write to stdout: it is closed")
        return 1
    try:
        try:
            verbs.run(argv)
        finally:
            flush_stdout()
    except BrokenPipeError:  # the reader of the output, such as `head`, has gone
        return 1
    except (TokenizerError, OSError) as error:
        message = str(error)
        if isinstance(error, OSError):
            message = f"cannot write to {error.filename or 'stdout'}: {error.strerror or error}"
        to_stderr("error: " + printable(" ".join(message.split("\n"))))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
