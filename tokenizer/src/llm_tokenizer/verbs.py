"""The verbs of `llm-tokenizer`, encode, decode, count, show, explain and train, and their flags.

Text and ids are read and written in parts, so a file of any size takes little memory.
"""

import argparse
import io
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from llm_tokenizer import showing
from llm_tokenizer.errors import TokenizerError, shown
from llm_tokenizer.explaining import explain
from llm_tokenizer.explaining_page import page
from llm_tokenizer.explaining_text import colored, plain, text_lines
from llm_tokenizer.special_tokens import Specials
from llm_tokenizer.streams import to_stderr
from llm_tokenizer.target import check_target
from llm_tokenizer.text_files import check_readable, read_text, text_parts
from llm_tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llm_tokenizer.tokenizer import Ids

DISTRIBUTION = "llm-tokenizer"
BUNDLED, STDIN = "gpt2", "-"
AN_ID = re.compile(r"[0-9]{1,10}")
BETWEEN_IDS = str.maketrans("[],", "   ")  # as JSON and Python write a list


def run(argv: Sequence[str] | None = None) -> None:
    """Do what the arguments ask for.

    Raises:
        SystemExit: 2 for wrong usage; 0 after --help and --version.
        TokenizerError: A failure that the caller can mend.
        OSError: The output cannot be written.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for terminals that are not UTF-8
    options = _parser().parse_args(argv)
    options.run(options)


class _Parser(argparse.ArgumentParser):
    """argparse's prints wrong usage to stdout where stderr is closed, and hides a full disk."""

    def print_help(self, file: Any = None) -> None:
        print(self.format_help(), end="", file=file)

    def error(self, message: str) -> NoReturn:
        to_stderr(f"{self.format_usage()}{self.prog}: error: {showing.printable(message)}")
        raise SystemExit(2)


class _Once(argparse.Action):
    """Store a value, or True for a flag without one; a flag given twice is an error."""

    def __call__(
        self, _: object, namespace: argparse.Namespace, values: Any, flag: str | None = None
    ) -> None:
        given = vars(namespace).setdefault("given", set())
        if flag and self.dest in given:
            raise argparse.ArgumentError(self, "given twice")
        given.add(self.dest)
        setattr(namespace, self.dest, self.const if self.nargs == 0 else values)


class _Version(argparse.Action):
    """Look the version up when it is asked for: argparse's own action wants it before."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(DISTRIBUTION, version(DISTRIBUTION))
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=DISTRIBUTION, description="GPT-2's byte-level byte-pair encoding.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, run_verb, does in (
        ("encode", _encode, "print the token ids of a text"),
        ("decode", _decode, "print the text of token ids, which white space or commas separate"),
        ("count", _count, "print the number of tokens of a text"),
        ("show", _show, "print a text, each of its tokens marked"),
        ("explain", _explain, "print how a text becomes tokens, merge by merge"),
    ):
        verb = verbs.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.")
        verb.set_defaults(run=run_verb)
        if name == "explain":
            verb.add_argument(
                "text", nargs="*", help="words, joined by spaces; stdin if it is - or not given"
            )
        else:
            verb.add_argument(
                "file", nargs="?", type=_input, help="file to read; stdin if it is - or not given"
            )
        _add_flag_of_tokenizer(verb)
        if name != "decode":
            _add_flag(
                verb,
                "--allow-special",
                "special tokens in the text, such as <|endoftext|>, become their ids, and the file "
                "is read whole; they are ordinary text if not given",
            )
    _add_format(
        verbs.choices["show"],
        "color: by background, as on a terminal; html: a page; text: an id and a token a line",
    )
    _add_format(
        verbs.choices["explain"], "color: for a terminal; html: a page; text: without colors"
    )
    _add_train(verbs.add_parser("train", help="learn a vocabulary from text files"))
    return parser


def _add_flag(verb: argparse.ArgumentParser, name: str, does: str) -> None:
    verb.add_argument(name, action=_Once, nargs=0, const=True, default=False, help=does)


def _add_format(verb: argparse.ArgumentParser, formats: str) -> None:
    verb.add_argument(
        "--format",
        action=_Once,
        choices=sorted(showing.FORMATS),
        help=f"{formats}. color for a terminal, else text, if not given",
    )


def _add_flag_of_tokenizer(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--tokenizer",
        action=_Once,
        default=BUNDLED,
        help="folder with vocab.json and merges.txt, or a tokenizer.json or .tiktoken file, or "
        f"{BUNDLED} for GPT-2's vocabulary (default {BUNDLED}; ./{BUNDLED} is a folder)",
    )


def _add_train(verb: argparse.ArgumentParser) -> None:
    verb.set_defaults(run=_train)
    verb.add_argument("files", nargs="+", type=_input, help="UTF-8 text files; - for stdin")
    verb.add_argument(
        "--vocab-size", action=_Once, type=int, required=True, help="tokens wanted, in all"
    )
    verb.add_argument(
        "--out",
        action=_Once,
        type=Path,
        required=True,
        help="folder, .json or .tiktoken file to write",
    )
    _add_flag(verb, "--force", "replace what is at --out, also beside prepared data")
    verb.add_argument(
        "--min-frequency",
        action=_Once,
        type=int,
        default=2,
        help="occurrences that a pair must have to become a token (default 2)",
    )


def _input(argument: str) -> Path | None:
    """Return the path of a file, or None for stdin."""
    return None if argument == STDIN else Path(argument)


def _encode(options: argparse.Namespace) -> None:
    separator = ""
    for part in _encoded(options, _tokenizer(options)):
        ids = " ".join(map(str, part.tolist()))
        if ids:
            sys.stdout.write(separator + ids)
            separator = " "
    print()


def _count(options: argparse.Namespace) -> None:
    print(sum(len(part) for part in _encoded(options, _tokenizer(options))))


def _decode(options: argparse.Namespace) -> None:
    tokenizer = _tokenizer(options)
    for ids in _ids(options.file):
        sys.stdout.buffer.write(tokenizer.decode_bytes(ids))


def _show(options: argparse.Namespace) -> None:
    tokenizer = _tokenizer(options)
    show = showing.FORMATS[_format(options)]()
    sys.stdout.write(show.head)
    number = 0
    for part in _encoded(options, tokenizer):
        for i in part.tolist():
            sys.stdout.write(show.token(number, i, tokenizer.decode_single_token_bytes(i)))
            number += 1
    sys.stdout.write(show.foot)


def _explain(options: argparse.Namespace) -> None:
    tokenizer = _tokenizer(options)
    text = read_text(None) if options.text in ([], [STDIN]) else " ".join(options.text)
    allowed: Specials = "all" if options.allow_special else ()
    explanation = explain(tokenizer, text, allowed_special=allowed)
    match _format(options):
        case "html":
            sys.stdout.write(page(explanation))
        case chosen:
            for line in text_lines(explanation, colored if chosen == "color" else plain):
                print(line)


def _format(options: argparse.Namespace) -> str:
    return options.format or ("color" if sys.stdout.isatty() else "text")


def _train(options: argparse.Namespace) -> None:
    for path in options.files:
        if path:
            check_readable(path)
    check_target(options.out, replace=options.force)
    tokenizer = Tokenizer.train(
        _texts(options.files),
        options.vocab_size,
        min_frequency=options.min_frequency,
        show_progress=sys.stderr is not None and sys.stderr.isatty(),
    )
    tokenizer.save(options.out)
    if tokenizer.n_vocab < options.vocab_size:
        to_stderr(
            f"note: the vocabulary has {tokenizer.n_vocab} tokens, fewer than the "
            f"{options.vocab_size} asked for: no other pair occurs {options.min_frequency} times; "
            "give more text, or a smaller --min-frequency"
        )
    print(options.out)


def _texts(paths: list[Path | None]) -> Iterator[str | Path]:
    for path in paths:
        yield from [path] if path else text_parts(None)


def _tokenizer(options: argparse.Namespace) -> Tokenizer:
    bundled = options.tokenizer == BUNDLED
    return Tokenizer.gpt2() if bundled else Tokenizer.load(options.tokenizer)


def _encoded(options: argparse.Namespace, tokenizer: Tokenizer) -> "Iterator[Ids]":
    """Give the ids of a file, or of stdin, in parts."""
    if options.allow_special:  # whole, as the parts may cut a special token
        yield tokenizer.encode_to_numpy(read_text(options.file), allowed_special="all")
    else:
        yield from map(tokenizer.encode_to_array, text_parts(options.file))


def _ids(path: Path | None) -> Iterator[list[int]]:
    """Give the ids that a file, or stdin, lists, in parts."""
    rest = ""
    for part in text_parts(path):
        text = part.translate(BETWEEN_IDS)
        words = (rest + text).split()
        rest = words.pop() if words and not text[-1:].isspace() else ""
        yield _parsed(words)
    yield _parsed([rest] if rest else [])


def _parsed(words: list[str]) -> list[int]:
    if wrong := next((word for word in words if not AN_ID.fullmatch(word)), None):
        raise TokenizerError(f"wanted token ids, whole numbers, got {shown(wrong)}")
    return [int(word) for word in words]
