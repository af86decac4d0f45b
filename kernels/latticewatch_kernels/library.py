"""CuPy's modules, where there is a device to compute on."""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Any

_importing = threading.RLock()

#: Modules that were imported to their end: ``sys.modules`` has others as well.
_whole: set[str] = set()


def library(name: str) -> Any:
    """Give ``cupy`` or a module beside it; ImportError where it is not installed.

    Its modules import each other in circles. Of two threads that import some of them at the same
    time Python lets one see a module that is half there, so one comes after the other here.
    """
    found = sys.modules.get(name) if name in _whole else None
    if found is not None:
        return found  # a frame asks some ten times
    with _importing:
        found = importlib.import_module(name)
        _whole.add(name)
    return found
