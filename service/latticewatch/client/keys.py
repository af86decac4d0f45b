"""A peer's CURVE keys: its own pair, and the service's public key that it trusts.

Files are those of pyzmq's ``zmq.auth``: ``NAME.key`` holds the public key, ``NAME.key_secret`` the
secret one too. CURVE encrypts and authenticates both ways (ZeroMQ RFC 26): a peer that holds
another service's key is refused like a stranger.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq
import zmq.auth

PUBLIC, SECRET = ".key", ".key_secret"

#: Name of the service's pair, and of the file that a peer knows it by.
SERVICE = "service"

#: Length of a CURVE key as text (Z85).
KEY_LENGTH = 40

#: What CURVE adds to a message part, and the longest command of its handshake, with some metadata:
#: ZeroMQ holds both against the socket's bound on messages (RFC 26: 33, and 257 without metadata).
SEALED_BYTES, HANDSHAKE_BYTES = 64, 1024

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

#: Mode bits by which others than the owner could read or write a file.
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class KeyFileError(ValueError):
    """A key file is missing, damaged, or open to others."""


@dataclass(frozen=True)
class Keys:
    """What a socket needs to talk to a service that asks for keys.

    Attributes
    ----------
    public, secret
        The peer's own pair, Z85. The secret is never printed.
    service
        The service's public key.
    """

    public: bytes
    secret: bytes = field(repr=False)
    service: bytes

    @classmethod
    def load(cls, folder: str | Path) -> Keys:
        """Read a peer's folder: one ``NAME.key_secret``, and ``service.key``.

        Raises
        ------
        KeyFileError
            There is not exactly one of each, or one cannot be used.
        """
        folder = Path(folder)
        own = sorted(p for p in folder.glob(f"*{SECRET}") if p.name != f"{SERVICE}{SECRET}")
        if len(own) != 1:
            raise KeyFileError(
                f"{folder} holds {len(own)} files *{SECRET} of a peer and must hold one: "
                "make a pair with 'latticewatch keys new NAME --dir FOLDER'"
            )
        public, secret = read_secret(own[0])
        return cls(public, secret, read_public(folder / f"{SERVICE}{PUBLIC}"))

    def apply(self, socket: zmq.Socket[Any]) -> None:
        """Set the keys on a socket that is not connected yet."""
        socket.set(zmq.CURVE_PUBLICKEY, self.public)
        socket.set(zmq.CURVE_SECRETKEY, self.secret)
        socket.set(zmq.CURVE_SERVERKEY, self.service)
        make_room(socket)


def make_room(socket: zmq.Socket[Any]) -> None:
    """Widen a socket's bound on messages by what CURVE adds to them, and for its handshake."""
    bound = int(socket.get(zmq.MAXMSGSIZE))
    if bound >= 0:
        socket.set(zmq.MAXMSGSIZE, max(bound + SEALED_BYTES, HANDSHAKE_BYTES))


def keys_of(given: Keys | str | Path | None) -> Keys | None:
    """Return keys as they are, or read from a folder."""
    return given if given is None or isinstance(given, Keys) else Keys.load(given)


def check_name(name: str) -> str:
    """Return a peer's name; KeyFileError for one that is no plain file name."""
    if not _NAME.fullmatch(name):
        raise KeyFileError(f"{name!r} is no name for keys: 1 to 64 letters, digits, '.', '_', '-'")
    return name


def read_public(path: Path) -> bytes:
    """Public key of a file; raises KeyFileError."""
    return _read(path)[0]


def read_secret(path: Path) -> tuple[bytes, bytes]:
    """Public and secret key of a file that nobody else may read; raises KeyFileError."""
    public, secret = _read(path)
    if secret is None:
        raise KeyFileError(f"{path} holds no secret key: give the file that ends in {SECRET}")
    if os.name == "posix" and path.stat().st_mode & _OTHERS:
        mode = stat.S_IMODE(path.stat().st_mode)
        raise KeyFileError(f"{path} is open to others (mode {mode:04o}): chmod 600 {path}")
    return public, secret


def write_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a pair of keys; return the paths of the public and the secret file.

    Raises
    ------
    KeyFileError
        There is one of that name already, or the name is none.
    """
    check_name(name)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    public, secret = zmq.curve_keypair()
    paths = folder / f"{name}{PUBLIC}", folder / f"{name}{SECRET}"
    _write(paths[1], name, public, secret)
    _write(paths[0], name, public, None)
    return paths


def write_public(path: Path, name: str, key: bytes) -> None:
    """Write a public key; raises KeyFileError where the file exists."""
    _write(path, name, key, None)


def _write(path: Path, name: str, public: bytes, secret: bytes | None) -> None:
    lines = [f"# latticewatch: {'both keys' if secret else 'public key'} of {name}"]
    lines += ["metadata", "curve", f'    public-key = "{public.decode()}"']
    if secret is not None:
        lines.append(f'    secret-key = "{secret.decode()}"')
    mode = 0o644 if secret is None else 0o600
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise KeyFileError(f"{path} exists already: choose another name or folder") from None
    with os.fdopen(file, "w", encoding="ascii") as opened:
        opened.write("\n".join(lines) + "\n")


def _read(path: Path) -> tuple[bytes, bytes | None]:
    try:
        public, secret = zmq.auth.load_certificate(path)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise KeyFileError(f"{path} is no key file ({error})") from error
    for key in (public, secret):
        if key is not None and len(key) != KEY_LENGTH:
            raise KeyFileError(f"{path} is damaged: a key has {KEY_LENGTH} characters")
    return public, secret
