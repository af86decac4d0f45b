"""The command line: ``latticewatch COMMAND``. A command's module is imported when it is chosen."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from latticewatch import __version__

#: Command, what it does in one line. The module of each is ``latticewatch.cli.<command>``.
COMMANDS = {
    "demo": "simulated microscope, service and views in one go",
    "serve": "take frames in, publish defects and statistics",
    "send": "send a movie or a simulated specimen to a service",
    "view": "live picture of a service's results, in a window or the browser",
    "watch": "live table of a service's results in the terminal",
    "analyze": "run the same pipeline over a file",
    "report": "a session as one page with figures, tables and methods",
    "check": "say whether a session holds what was committed",
    "label": "label defects by Fourier filtering, without a model, with a picture of the steps",
    "train": "train the segmenter and export it to ONNX",
    "keys": "make, allow, revoke and check the keys of peers",
    "doctor": "what this machine computes with, and what would mend it",
    "bench": "frames a second and latency through the real sockets",
}

#: Exit status by DESIGN's contract.
FAILURE, MISUSE, INTERRUPTED = 1, 2, 130


class MisuseError(ValueError):
    """The command line makes no sense; ends with exit status 2."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    Parameters
    ----------
    arguments
        What follows the program's name; ``sys.argv[1:]`` by default.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    top = _top_parser()
    if not given or given[0] not in COMMANDS:
        top.parse_args(given or ["--help"])
        return MISUSE
    name = given[0]
    try:
        module = importlib.import_module(f"latticewatch.cli.{name}")
    except ModuleNotFoundError as error:
        return _fail_for_want_of(error, name)
    parser = argparse.ArgumentParser(
        prog=f"latticewatch {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    options = parser.parse_args(given[1:])
    logging.basicConfig(
        level=os.environ.get("LATTICEWATCH_LOG", "WARNING").upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    try:
        return int(module.run(options))
    except MisuseError as error:
        return _fail(str(error), MISUSE)
    except ModuleNotFoundError as error:
        return _fail_for_want_of(error, name)
    except (OSError, ValueError, RuntimeError) as error:
        if os.environ.get("LATTICEWATCH_DEBUG"):
            raise
        return _fail(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED


def _top_parser() -> argparse.ArgumentParser:
    table = "\n".join(f"  {name:9} {text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="latticewatch",
        description="Live defect tracking for scanning transmission electron microscopy.",
        epilog=f"commands:\n{table}\n\n'latticewatch COMMAND --help' has an example of each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"latticewatch {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    return parser


def _fail_for_want_of(error: ModuleNotFoundError, command: str) -> int:
    """Name the extra that holds what is missing; a module of our own that is missing is a fault."""
    if error.name is None or error.name.startswith("latticewatch"):
        raise error
    extra = {"train": "cpu,train", "view": "view"}.get(command, "cpu")
    extra = "view" if error.name.startswith("rerun") else extra
    return _fail(
        f"{command} needs {error.name}, which is not installed: pip install 'latticewatch[{extra}]'"
    )


def _fail(message: str, status: int = FAILURE) -> int:
    first_line = " ".join(message.split())
    print(f"latticewatch: {first_line}", file=sys.stderr)
    return status
