"""CuPy's modules are imported by one thread at a time."""

from __future__ import annotations

import importlib
import threading

import pytest

from latticewatch_kernels.library import library

#: Longer than a thread needs that waits for nobody, s.
ENOUGH_S = 0.2


def test_one_comes_after_the_other(monkeypatch):
    inside, go_on, order = threading.Event(), threading.Event(), []

    def import_module(name: str) -> str:
        if name == "first":
            inside.set()
            assert go_on.wait(30.0)
        order.append(name)
        return name

    monkeypatch.setattr(importlib, "import_module", import_module)
    first, second = (threading.Thread(target=library, args=(name,)) for name in ("first", "second"))
    first.start()
    assert inside.wait(30.0)
    second.start()
    second.join(ENOUGH_S)
    go_on.set()
    first.join()
    second.join()
    assert order == ["first", "second"]


def test_what_is_not_installed():
    with pytest.raises(ImportError):
        library("latticewatch_has_no_such_library")
