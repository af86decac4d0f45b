"""CuPy's modules, where there is a device to compute on."""

from __future__ import annotations

import importlib
import threading
from typing import Any

_importing = threading.RLock()


def library(name: str) -> Any:
    """Give ``cupy`` or a module beside it; ImportError where it is not installed.

    Its modules import each other in circles. Of two threads that import some of them at the same
    time Python lets one see a module that is half there, so one comes after the other here.
    """
    with _importing:
        return importlib.import_module(name)
