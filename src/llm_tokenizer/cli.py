"""`llm-tokenizer encode | decode | count | train`: the tokenizer on the command line."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from llm_tokenizer.errors import TokenizerError
from llm_tokenizer.files import read_text
from llm_tokenizer.tokenizer import Tokenizer


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0 done, 1 failed."""
    options = _parser().parse_args(argv)
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (TokenizerError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llm-tokenizer", description="GPT-2's byte-level byte-pair encoding."
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, run, does in (
        ("encode", _encode, "print the token ids of a text"),
        ("decode", _decode, "print the text of token ids, which white space separates"),
        ("count", _count, "print the number of tokens of a text"),
    ):
        verb = verbs.add_parser(name, help=does)
        verb.set_defaults(run=run)
        verb.add_argument("file", nargs="?", type=Path, help="file to read; stdin if not given")
        verb.add_argument(
            "--tokenizer",
            type=Path,
            help="folder with vocab.json and merges.txt; GPT-2's vocabulary if not given",
        )
    verb = verbs.add_parser("train", help="learn a vocabulary from text files")
    verb.set_defaults(run=_train)
    verb.add_argument("files", nargs="+", type=Path, help="UTF-8 text files")
    verb.add_argument("--vocab-size", type=int, required=True, help="tokens wanted, in all")
    verb.add_argument("--out", type=Path, required=True, help="folder to write")
    return parser


def _encode(options: argparse.Namespace) -> None:
    print(*_tokenizer(options).encode_ordinary(_read(options.file)))


def _count(options: argparse.Namespace) -> None:
    print(len(_tokenizer(options).encode_ordinary(_read(options.file))))


def _decode(options: argparse.Namespace) -> None:
    words = _read(options.file).split()
    if wrong := next((word for word in words if not word.isdecimal() or len(word) > 9), None):
        raise TokenizerError(f"wanted token ids, whole numbers, got {wrong!r}")
    sys.stdout.buffer.write(_tokenizer(options).decode_bytes(map(int, words)))


def _train(options: argparse.Namespace) -> None:
    tokenizer = Tokenizer.train(options.files, options.vocab_size)
    tokenizer.save(options.out)
    print(options.out)


def _tokenizer(options: argparse.Namespace) -> Tokenizer:
    return Tokenizer.load(options.tokenizer) if options.tokenizer else Tokenizer.gpt2()


def _read(path: Path | None) -> str:
    """Return the text of a file or of stdin, its line ends as they are."""
    if path:
        return read_text(path)
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise TokenizerError(f"stdin must be UTF-8 text: byte {error.start} is not") from None
