"""Files to the texts whose perplexity is measured: plain text, rows, and token shards."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from gpt2.data.shard_folder import open_shards
from gpt2.data.shards import Tokens, read_foreign_shard
from gpt2.errors import DataError, InputError
from gpt2.evaluate.corpora import Corpus
from gpt2.evaluate.data_files import DataFile, find_data, read_rows
from gpt2.evaluate.perplexity import Text, held_out_text, stream_text
from gpt2.files.pretrained import GPT2
from gpt2.prepare.file_formats import has_rows, read_text
from llm_tokenizer.text_files import text_parts

STDIN = "-"
SHARD_SUFFIX = ".bin"

Texts = Callable[[GPT2], list[Text]]  # what was read, as a model reads it


def read_data(words: Sequence[str], corpus: Corpus) -> tuple[Texts, list[DataFile]]:
    """Read what a user names.

    Args:
        words: Paths and globs of text files, .jsonl, .parquet and .bin files (token shards); - for
            stdin; or folders of `gpt2 prepare`, whose held-out text is taken. Without any,
            what the corpus is on the hub.
        corpus: The form that the texts have.
    Returns:
        The texts, and the files that were read, each once.
    Raises:
        DataError, TokenizerError: One cannot be read, is empty, or is not text.
    """
    parts: list[Texts] = []
    files: list[DataFile] = []
    for word in words:
        path = Path(word)
        if word == STDIN or (path.exists() and not path.is_file()):
            is_folder = word != STDIN and path.is_dir()
            part, checksum = _held_out(path) if is_folder else _read_stream(word, corpus)
            parts.append(part)
            files.append(DataFile(path, checksum, word))
        else:
            known = {file.path.resolve() for file in files}
            found = [f for f in find_data([word], None) if f.path.resolve() not in known]
            parts += [_read_file(file.path, corpus) for file in found]
            files += found
    if not words:
        files = find_data([], corpus.hub)
        parts = [_read_file(file.path, corpus) for file in files]
    return lambda model: [text for part in parts for text in part(model)], files


def _read_file(path: Path, corpus: Corpus) -> Texts:
    if path.suffix == SHARD_SUFFIX:
        tokens = read_foreign_shard(path)
        return lambda model: [_shard_text(tokens, model, path)]
    if has_rows(path.name):
        return _documents(corpus, corpus.documents(read_rows(path)))
    return _documents(corpus, corpus.divide(read_text(path)))


def _documents(corpus: Corpus, documents: Iterable[str]) -> Texts:
    filled = [document for document in documents if document]
    return lambda model: corpus.texts(filled, model.require_tokenizer())


def _held_out(folder: Path) -> tuple[Texts, str]:
    data = open_shards(folder)
    checksum = hashlib.sha256()
    for shard in data.val:
        checksum.update(shard.tobytes())
    return lambda model: [held_out_text(model, data)], checksum.hexdigest()


def _shard_text(tokens: Tokens, model: GPT2, path: Path) -> Text:
    """Return the tokens of a shard as one text.

    Raises:
        InputError: It has an id that the model has not, or fewer than two tokens.
    """
    if len(tokens) < 2:
        raise InputError(f"{path} must hold at least two tokens, it has {len(tokens)}")
    if (highest := int(tokens.max())) >= model.config.vocab_size:
        raise InputError(
            f"{path} has the token id {highest}, the model has {model.config.vocab_size} ids; the "
            "shard is of another vocabulary"
        )
    return stream_text(tokens, model.require_tokenizer())


def _read_stream(word: str, corpus: Corpus) -> tuple[Texts, str]:
    """Return the text of stdin or a pipe, read to its end, and its checksum.

    Raises:
        DataError, TokenizerError: It cannot be read, is empty, or is not text.
    """
    text = "".join(text_parts(None if word == STDIN else Path(word)))
    name = "stdin" if word == STDIN else word
    if not text.strip():
        raise DataError(f"{name} is empty: wanted some text")
    if "\0" in text:
        raise DataError(f"{name} must be text: it has a NUL, as in binary files")
    checksum = hashlib.sha256(text.encode()).hexdigest()
    return _documents(corpus, corpus.divide(text)), checksum
