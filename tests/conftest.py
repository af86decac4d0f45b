"""What holds for every test: no stray ERROR in the log, no thread or task left running."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from latticewatch_kernels import arrays
from latticewatch_kernels.arrays import cupy_trouble

#: Threads that libraries keep for the life of the process; they end with it.
_LIBRARY_THREADS = ("asyncio_", "ThreadPoolExecutor", "pydevd", "Dummy", "tqdm")

#: How long a thread that was told to stop may take to do so, seconds.
_THREAD_GRACE_S = 5.0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave long tests out unless asked for with ``-m long``; skip those of a GPU without one."""
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if on_gpu and (reason := cupy_trouble()[0]):
        for item in on_gpu:
            item.add_marker(pytest.mark.skip(reason=reason))
    if "long" in str(config.option.markexpr):
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let tests of kernels run on a real device."""
    parser.addoption(
        "--on-gpu", action="store_true", help="run tests of kernels on the first GPU, not a double"
    )


class Uncounted:
    """Stands for what only the double counts: any number is right."""

    def __eq__(self, other: object) -> bool:
        return True

    def __sub__(self, other: object) -> Uncounted:
        return self

    __le__ = __lt__ = __ge__ = __gt__ = __eq__  # type: ignore[assignment]
    __rsub__ = __sub__
    __hash__ = None  # type: ignore[assignment]


class RealDevice:
    """Gives what tests ask of the double, of CuPy itself."""

    real = True

    def __init__(self) -> None:
        self.cupy = importlib.import_module("cupy")
        self.ndarray = self.cupy.asarray
        names = ("up", "down", "operations")
        self.traffic = type("Traffic", (), dict.fromkeys(names, Uncounted()))()

    def beside(self, name: str) -> Any:
        return pytest.skip(f"{name} is only for CuPy's double")

    @property
    def order(self) -> Any:
        return pytest.skip("only CuPy's double looks at the order of streams")


@pytest.fixture
def device_double(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Stand CuPy's double in for it; gives `device_double` with its `traffic`."""
    if request.config.getoption("--on-gpu"):
        with arrays.device(0):
            yield RealDevice()
        return
    path = Path(__file__).with_name("device_double.py")
    spec = importlib.util.spec_from_file_location("device_double", path)
    assert spec is not None
    assert spec.loader is not None
    double = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(double)
    monkeypatch.setattr(arrays, "_streams", {})  # a real device must not get the double's
    with double.device() as double.cupy:
        yield double


class _ErrorLog(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(f"{record.name}: {record.getMessage()}")


@pytest.fixture(autouse=True)
def no_unexpected_errors(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail on a logged ERROR, unless the test is marked ``expects_errors`` (then demand one)."""
    handler = _ErrorLog()
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
    if request.node.get_closest_marker("expects_errors"):
        assert handler.messages, "the test expects a logged ERROR and none came"
    else:
        assert not handler.messages, f"unexpected ERROR in the log: {handler.messages}"


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Fail on a thread that outlives its test; asyncio.run itself cancels what tasks are left."""
    before = set(threading.enumerate())
    yield
    left = [t for t in threading.enumerate() if t not in before and not t.daemon]
    for thread in left:
        if not thread.name.startswith(_LIBRARY_THREADS):
            thread.join(_THREAD_GRACE_S)
    left = [t.name for t in left if t.is_alive() and not t.name.startswith(_LIBRARY_THREADS)]
    assert not left, f"threads left running: {left}"


@pytest.fixture(autouse=True)
def no_tasks_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail when a coroutine given to ``asyncio.run`` returns with tasks still running."""
    left: list[str] = []
    original = asyncio.run

    def run(main, **options):  # type: ignore[no-untyped-def]
        async def guarded():  # type: ignore[no-untyped-def]
            result = await main
            current = asyncio.current_task()
            left.extend(repr(t) for t in asyncio.all_tasks() if t is not current and not t.done())
            return result

        return original(guarded(), **options)

    monkeypatch.setattr(asyncio, "run", run)
    yield
    assert not left, f"tasks left running: {left}"
