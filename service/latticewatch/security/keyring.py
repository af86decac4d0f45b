"""The service's folder of keys: its own pair, and the public keys that it lets in.

::

    keys/service.key, service.key_secret      the service's own
    keys/publish/NAME.key                     may send frames
    keys/subscribe/NAME.key                   may receive results
    keys/control/NAME.key                     may ask the store, and steer

A key is allowed by lying in a right's folder, and revoked by being taken out of all of them: what
lies there is what holds, at once and after any restart.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from latticewatch.client.keys import (
    PUBLIC,
    SECRET,
    SERVICE,
    KeyFileError,
    check_name,
    read_public,
    read_secret,
    write_pair,
    write_public,
)

#: What a key may be allowed to do, each at a port of its own.
RIGHTS = ("publish", "subscribe", "control")


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a folder of keys, and what mends it."""

    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.what}: {self.mend}"


class Keyring:
    """A folder of keys.

    Parameters
    ----------
    folder
        Where it is, or is to be made.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def pair(self) -> tuple[bytes, bytes]:
        """Return the service's public and secret key; raises KeyFileError where it has none."""
        path = self.folder / f"{SERVICE}{SECRET}"
        if not path.is_file():
            raise KeyFileError(
                f"{self.folder} holds no keys of the service: make them with "
                f"'latticewatch keys new {SERVICE} --dir {self.folder}'"
            )
        return read_secret(path)

    def new(self, name: str) -> tuple[Path, Path]:
        """Make a pair of keys; those of the service in the folder, a peer's in one of its own.

        A peer's folder holds all that the peer needs: its pair and the service's public key.
        Returns the paths of the public and the secret file.

        Raises
        ------
        KeyFileError
            There is one of that name already, or the name is none.
        """
        check_name(name)
        if name == SERVICE:
            return write_pair(self.folder, SERVICE)
        public, _ = self.pair()
        paths = write_pair(self.folder / "peers" / name, name)
        write_public(paths[0].with_name(f"{SERVICE}{PUBLIC}"), SERVICE, public)
        return paths

    def allow(self, name: str, key: bytes, rights: Sequence[str]) -> None:
        """Let a peer's public key in for each of the rights.

        Raises
        ------
        KeyFileError
            Another key goes by that name, or the name is none.
        """
        check_name(name)
        for right in rights:
            path = self.folder / right / f"{name}{PUBLIC}"
            if path.is_file():
                if read_public(path) != key:
                    raise KeyFileError(f"another key goes by {name!r}: revoke it, or rename this")
                continue
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_public(path, name, key)

    def revoke(self, name: str) -> list[str]:
        """Take a peer's key out of all rights; return those that it had, none for a stranger."""
        check_name(name)
        had = []
        for right in RIGHTS:
            path = self.folder / right / f"{name}{PUBLIC}"
            if path.is_file():
                path.unlink()
                had.append(right)
        return had

    def allowed(self, right: str) -> dict[bytes, str]:
        """Names by public key of those who have a right; raises KeyFileError for a damaged file."""
        return {read_public(path): path.stem for path in self._files(right)}

    def mark(self, right: str) -> tuple[tuple[str, int, int], ...]:
        """Something that changes when the keys of a right do, found without reading them."""
        marks = []
        for path in self._files(right):
            try:
                found = path.stat()
            except FileNotFoundError:
                continue  # revoked just now
            marks.append((path.name, found.st_mtime_ns, found.st_size))
        return tuple(marks)

    def _files(self, right: str) -> list[Path]:
        return sorted((self.folder / right).glob(f"*{PUBLIC}"))

    def check(self) -> tuple[list[tuple[str, str]], list[Finding]]:
        """Return name and right of everybody who is let in, and everything that is wrong."""
        let_in: list[tuple[str, str]] = []
        found: list[Finding] = []
        try:
            public, _ = self.pair()
            if read_public(self.folder / f"{SERVICE}{PUBLIC}") != public:
                found.append(Finding("the service's two files do not belong together", "make anew"))
        except KeyFileError as error:
            found.append(Finding(*_split(error)))
        for right in RIGHTS:
            for path in self._files(right):
                try:
                    read_public(path)
                except KeyFileError as error:
                    found.append(Finding(*_split(error)))
                else:
                    let_in.append((path.stem, right))
        found += [*self._secrets(), *self._open_folders()]
        return let_in, found

    def _secrets(self) -> Iterator[Finding]:
        for path in sorted(self.folder.rglob(f"*{SECRET}")):
            if path.parent == self.folder and path.stem == SERVICE:
                continue
            try:
                read_secret(path)
            except KeyFileError as error:
                yield Finding(*_split(error))
            else:
                mend = "move it to the peer and delete it here"
                yield Finding(f"{path} is a peer's secret key", mend)

    def _open_folders(self) -> Iterator[Finding]:
        """Folders in which others than the owner could put a key of their own."""
        if os.name != "posix":
            return
        for path in (self.folder, *(self.folder / right for right in RIGHTS)):
            if path.is_dir() and path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                yield Finding(f"others may write to {path}", f"chmod go-w {path}")


def _split(error: KeyFileError) -> tuple[str, str]:
    what, _, mend = str(error).rpartition(": ")
    return (what, mend) if what else (mend, "make it anew")
