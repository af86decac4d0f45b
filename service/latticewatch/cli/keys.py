"""Make, allow, revoke and check the keys of peers, for a service beyond loopback.

For example::

  latticewatch keys new service --dir keys
  latticewatch keys new titan --dir keys --allow publish
  latticewatch keys new anna --alone --dir mine
  latticewatch keys allow anna.key --dir keys subscribe control
  latticewatch keys revoke titan --dir keys
  latticewatch keys check --dir keys

'new titan' makes a folder keys/peers/titan with what that peer needs: carry it to the other
machine, delete it here, and give it to send, watch, view, Publisher or Subscriber as keys.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from latticewatch.cli import FAILURE, MisuseError
from latticewatch.client.keys import SERVICE, read_public, write_pair
from latticewatch.security import RIGHTS, Keyring


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    commands = parser.add_subparsers(dest="do", required=True, metavar="new|allow|revoke|check")
    new = commands.add_parser("new", help="make a pair of keys")
    new.add_argument("name", help=f"'{SERVICE}', or a name for the peer")
    new.add_argument(
        "--alone", action="store_true", help="on the peer itself: the pair, straight into --dir"
    )
    new.add_argument("--allow", nargs="+", choices=RIGHTS, default=[], help="let it in at once")
    allow = commands.add_parser("allow", help="let a peer's public key in")
    allow.add_argument("key", type=Path, help="the peer's NAME.key")
    allow.add_argument("rights", nargs="+", choices=RIGHTS, help="what it may do")
    revoke = commands.add_parser("revoke", help="let a peer in no more; works on a running service")
    revoke.add_argument("name")
    check = commands.add_parser("check", help="say who may do what, and what is wrong")
    for command in (new, allow, revoke, check):
        command.add_argument("--dir", type=Path, default=Path("keys"), help="(%(default)s)")


def run(options: argparse.Namespace) -> int:
    """Do what was asked."""
    keyring = Keyring(options.dir)
    return {"new": _new, "allow": _allow, "revoke": _revoke, "check": _check}[options.do](
        keyring, options
    )


def _new(keyring: Keyring, options: argparse.Namespace) -> int:
    if options.alone:
        if options.name == SERVICE or options.allow:
            raise MisuseError("--alone is for a peer that makes its own pair, on its own machine")
        public, secret = write_pair(options.dir, options.name)
        print(f"{public}\n{secret}  (secret: readable by its owner alone)")
        print(f"give {public} to the service's owner, and put service.key of theirs beside it")
        return 0
    public, secret = keyring.new(options.name)
    keyring.allow(options.name, read_public(public), options.allow)
    print(f"{public}\n{secret}  (secret: readable by its owner alone)")
    if options.name != SERVICE:
        may = f"may {', '.join(options.allow)}" if options.allow else "may nothing yet"
        print(f"{options.name} {may}; carry {public.parent} to that peer and delete it here")
    return 0


def _allow(keyring: Keyring, options: argparse.Namespace) -> int:
    keyring.allow(options.key.stem, read_public(options.key), options.rights)
    print(f"{options.key.stem} may {', '.join(options.rights)}")
    return 0


def _revoke(keyring: Keyring, options: argparse.Namespace) -> int:
    had = keyring.revoke(options.name)
    if not had:
        print(f"{options.name} was not let in: see 'latticewatch keys check --dir {options.dir}'")
        return FAILURE
    print(f"{options.name} may no longer {', '.join(had)}")
    return 0


def _check(keyring: Keyring, options: argparse.Namespace) -> int:
    let_in, wrong = keyring.check()
    for name in sorted({name for name, _ in let_in}):
        print(f"{name} may {', '.join(right for who, right in let_in if who == name)}")
    for finding in wrong:
        print(f"wrong: {finding}")
    if not wrong:
        print(f"{options.dir} is in order")
    return FAILURE if wrong else 0
