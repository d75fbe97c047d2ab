"""What has been appended to a file since the last look? It may be cut or replaced meanwhile."""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

REMEMBERED = 128  # bytes before the place that has been read: other ones there are another file

Signature = tuple[int, int, int]  # inode, bytes, nanoseconds of the last change


class Appended(NamedTuple):
    """What a look has found."""

    content: bytes  # whole lines
    is_new: bool  # the file is another one than before, or none: what came before counts no more


class Tail:
    """Reads a file of lines that another process appends to.

    A last line without its end waits until the rest is there. Nothing is opened unless size, time
    or inode have changed.

    Args:
        path: The file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._signature: Signature | None = None
        self._place = 0  # bytes that have been read, all of whole lines
        self._before = b""  # the last of them

    def look(self) -> Appended:
        """Read what is new.

        Raises:
            OSError: The file cannot be read, for another reason than that it is not there.
        """
        signature = signature_of(self.path)
        if signature == self._signature:
            return Appended(b"", False)
        try:
            appended = self._read() if signature else self._forget()
        except FileNotFoundError:  # removed a moment ago
            signature, appended = None, self._forget()
        self._signature = signature
        return appended

    def _forget(self) -> Appended:
        had_any = self._place > 0
        self._place, self._before = 0, b""
        return Appended(b"", had_any)

    def _read(self) -> Appended:
        with self.path.open("rb") as file:
            place, before = self._place, self._before
            file.seek(place - len(before))
            if file.read(len(before)) != before:  # it was cut, or replaced
                place, before = 0, b""
                file.seek(0)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        is_new = place < self._place
        self._place = place + len(whole)
        self._before = (before + whole[-REMEMBERED:])[-REMEMBERED:]
        return Appended(whole, is_new)


def signature_of(path: Path) -> Signature | None:
    """Return what changes when a file does; None where there is none."""
    with suppress(FileNotFoundError, NotADirectoryError):
        found = path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns
    return None
