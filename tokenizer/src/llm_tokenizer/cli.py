"""`llm-tokenizer encode | decode | count | show | train`: the tokenizer on the command line.

Text and ids are read and written in parts, so a file of any size takes little memory.
"""

import argparse
import io
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from llm_tokenizer import showing
from llm_tokenizer.errors import TokenizerError
from llm_tokenizer.text_files import text_parts
from llm_tokenizer.tokenizer import Tokenizer

DISTRIBUTION = "llm-tokenizer"
AN_ID = re.compile(r"[0-9]{1,10}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0 done, 1 failed."""
    options = _parser().parse_args(argv)
    if sys.stdout is None:
        print("error: cannot write to stdout: it is closed", file=sys.stderr)
        return 1
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for terminals that are not UTF-8
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except (TokenizerError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=DISTRIBUTION, description="GPT-2's byte-level byte-pair encoding."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, run, does in (
        ("encode", _encode, "print the token ids of a text"),
        ("decode", _decode, "print the text of token ids, which white space separates"),
        ("count", _count, "print the number of tokens of a text"),
        ("show", _show, "print a text with its tokens told apart"),
    ):
        verb = verbs.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.")
        verb.set_defaults(run=run)
        verb.add_argument("file", nargs="?", type=Path, help="file to read; stdin if not given")
        verb.add_argument(
            "--tokenizer",
            type=Path,
            help="folder with vocab.json and merges.txt, or a tokenizer.json or .tiktoken file; "
            "GPT-2's vocabulary if not given",
        )
    verbs.choices["show"].add_argument(
        "--format",
        choices=sorted(showing.FORMATS),
        help="color: by background, as on a terminal; html: a page; text: an id and a token a "
        "line. color for a terminal, else text, if not given",
    )
    verb = verbs.add_parser("train", help="learn a vocabulary from text files")
    verb.set_defaults(run=_train)
    verb.add_argument("files", nargs="+", type=Path, help="UTF-8 text files")
    verb.add_argument("--vocab-size", type=int, required=True, help="tokens wanted, in all")
    verb.add_argument(
        "--out", type=Path, required=True, help="folder, .json or .tiktoken file to write"
    )
    verb.add_argument(
        "--min-frequency",
        type=int,
        default=2,
        help="occurrences that a pair must have to become a token (default 2)",
    )
    return parser


class _Version(argparse.Action):
    """Look the version up when it is asked for: argparse's own action wants it before."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(DISTRIBUTION, version(DISTRIBUTION))
        parser.exit()


def _encode(options: argparse.Namespace) -> None:
    tokenizer = _tokenizer(options)
    separator = ""
    for part in text_parts(options.file):
        ids = " ".join(map(str, tokenizer.encode_to_array(part).tolist()))
        if ids:
            sys.stdout.write(separator + ids)
            separator = " "
    print()


def _count(options: argparse.Namespace) -> None:
    tokenizer = _tokenizer(options)
    print(sum(len(tokenizer.encode_to_array(part)) for part in text_parts(options.file)))


def _decode(options: argparse.Namespace) -> None:
    tokenizer = _tokenizer(options)
    for ids in _ids(options.file):
        sys.stdout.buffer.write(tokenizer.decode_bytes(ids))


def _show(options: argparse.Namespace) -> None:
    tokenizer = _tokenizer(options)
    chosen = options.format or ("color" if sys.stdout.isatty() else "text")
    show = showing.FORMATS[chosen]()
    sys.stdout.write(show.head)
    number = 0
    for part in text_parts(options.file):
        for i in tokenizer.encode_ordinary(part):
            sys.stdout.write(show.token(number, i, tokenizer.decode_single_token_bytes(i)))
            number += 1
    sys.stdout.write(show.foot)


def _train(options: argparse.Namespace) -> None:
    tokenizer = Tokenizer.train(
        options.files,
        options.vocab_size,
        min_frequency=options.min_frequency,
        show_progress=sys.stderr.isatty(),
    )
    tokenizer.save(options.out)
    print(options.out)


def _tokenizer(options: argparse.Namespace) -> Tokenizer:
    return Tokenizer.load(options.tokenizer) if options.tokenizer else Tokenizer.gpt2()


def _ids(path: Path | None) -> Iterator[list[int]]:
    """Give the ids of a file, or of stdin, in parts."""
    rest = ""
    for part in text_parts(path):
        words = (rest + part).split()
        rest = words.pop() if words and not part[-1:].isspace() else ""
        yield _parsed(words)
    yield _parsed([rest] if rest else [])


def _parsed(words: list[str]) -> list[int]:
    if wrong := next((word for word in words if not AN_ID.fullmatch(word)), None):
        raise TokenizerError(f"wanted token ids, whole numbers, got {wrong!r}")
    return [int(word) for word in words]


if __name__ == "__main__":
    sys.exit(main())
