"""CuPy's double: arrays that live apart from the host's, as on a GPU, with NumPy doing the work.

What CuPy refuses is refused here: an array of the host's where a device's is wanted (NumPy scalars
are let through, as CuPy does), and a device's array handed to NumPy or SciPy. What crosses over is
counted, since every crossing down makes the host wait for the device; so are the operations that
are asked for, each of which is a launch or more.

Kernels in CUDA C run on the host as C++ (`cuda_on_host.py`).

There are as many devices as are asked for by number. An array of one is refused while another is
the current one, and one that is in `faults` fails at whatever it is asked for.

This shows that a kernel keeps its arrays on the side where they belong. It does not show that CuPy
has every function, or computes the same: the tests marked ``gpu`` do.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import threading
import types
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
import scipy.ndimage


def beside(name: str) -> Any:
    """Module in a file beside this one, loaded once."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


_work = beside("device_traffic")
_order = beside("device_order")
Order = _order.Order
NO_LAUNCH, Traffic, Graph = _work.NO_LAUNCH, _work.Traffic, _work.Graph
_computed, _note, _refuse_in_capture = _work.computed, _work.note, _work.refuse
MemoryPool, using_allocator = _work.MemoryPool, _work.using_allocator

#: No two doubles are one device: what is kept by its number must not outlive it.
FIRST_DEVICE = uuid.uuid4().int

#: What devices that are lost raise, by number.
faults: dict[int, Exception] = {}

_current = threading.local()

#: Memory of all devices.
_memory = _work.Memory("a device's")


class DeviceLostError(RuntimeError):
    """What CUDA raises bears its name."""


DeviceLostError.__module__ = "cupy_backends.cuda.api.runtime"


class Device:
    """Makes a device the current one of this thread, while inside."""

    def __init__(self, number: int | None = None) -> None:
        self.number, self.before = self.current() if number is None else number, 0
        self.id = self.number

    @staticmethod
    def current() -> int:
        return getattr(_current, "number", 0)

    def __enter__(self) -> Device:
        self.before, _current.number = Device.current(), self.number
        return self

    def __exit__(self, *_: object) -> None:
        _current.number = self.before


#: Functions that take what is on the host up to the device.
UPLOADS = ("asarray", "array", "ascontiguousarray")


#: Functions that CuPy has of libraries (cuBLAS, CUB) or makes by several launches: they ask for
#: memory of their own, or wait, and so are not to be recorded.
OF_LIBRARIES = frozenset(
    ("argmax", "argmin", "argsort", "cumsum", "dot", "einsum", "matmul", "max", "mean", "median",
     "min", "nonzero", "prod", "sort", "std", "sum", "tensordot", "unique", "var")
)  # fmt: skip


traffic, order = Traffic(), Order()


def _inner(value: Any) -> Any:
    """What NumPy is to work on; TypeError for an array of the host's."""
    if isinstance(value, ndarray):
        if value._number != Device.current():
            raise ValueError(f"array on {value._number}, current device {Device.current()}")
        return value._values
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, tuple | list):
        return type(value)(_inner(part) for part in value)
    if isinstance(value, dict):
        return {key: _inner(part) for key, part in value.items()}
    return value


def _outer(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return ndarray(np.asarray(value))
    if isinstance(value, tuple | list):
        return type(value)(_outer(part) for part in value)
    return value


def _arrays(value: Any) -> Iterator[np.ndarray]:
    """Memory of all arrays of the device in what a function takes or gives."""
    if isinstance(value, ndarray):
        yield value._values
    elif isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _arrays(part)
    elif isinstance(value, dict):
        yield from _arrays(list(value.values()))


def _touch(reads: Any, fills: Any) -> None:
    """Tell what an operation of the current stream reads and fills, now or when it is started."""
    read, filled = list(_arrays(reads)), list(_arrays(fills))
    if _work.capturing():
        _note(lambda: order.touch(Stream.current().ptr, read, filled))
    else:
        order.touch(Stream.current().ptr, read, filled)


def _ask(do: Callable[[], None]) -> None:
    """Do what a stream is asked for, and note it where that is captured."""
    do()
    _note(do)


def _computed_unless_view(name: str, compute: Callable[[], Any]) -> Any:
    if name.strip("_") in OF_LIBRARIES:
        _refuse_in_capture(f"{name} is a library's")
    return compute() if name in NO_LAUNCH else _computed(compute)


class ndarray:  # noqa: N801
    """An array on the device."""

    __array_priority__ = 1000

    def __init__(self, values: np.ndarray) -> None:
        self._values, self._number = values, Device.current()
        _memory.add(_order.root(values))
        if self._number in faults:
            raise faults[self._number]

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed: use .get()")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **given: Any) -> Any:
        for value in inputs:
            if isinstance(value, np.ndarray):
                raise TypeError("Unsupported type <class 'numpy.ndarray'>")
        if "out" in given:
            given["out"] = _inner(given["out"])
        traffic.count_operation(ufunc.__name__)
        inner = [_inner(v) for v in inputs]
        made = _computed(lambda: getattr(ufunc, method)(*inner, **given))
        _touch(inner, made)
        return _outer(made)

    def get(self) -> np.ndarray:
        _work.land()
        traffic.count_down(self._values)
        _touch(self, ())
        order.wait_here(order.mark(Stream.current().ptr))
        return self._values.copy()

    @property
    def device(self) -> Any:
        return types.SimpleNamespace(id=FIRST_DEVICE + self._number)

    @property
    def data(self) -> Any:
        return types.SimpleNamespace(ptr=self._values.ctypes.data)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # NumPy would find a way round by the array interface
        found = getattr(self._values, name)
        if not callable(found):
            return _outer(found) if isinstance(found, np.ndarray) else found

        def call(*args: Any, **given: Any) -> Any:
            inner, named = _inner(args), _inner(given)
            done = _computed_unless_view(name, lambda: found(*inner, **named))
            traffic.count_operation(name, self._values, done)
            if name not in NO_LAUNCH and done is not self._values:
                _touch((self, args, given), done)
            return _outer(done)

        return call

    def __getitem__(self, key: Any) -> ndarray:
        if not _gathers(key):
            return ndarray(np.asarray(self._values[_inner(key)]))
        traffic.count_operation("gather")
        place = _inner(key)
        made = ndarray(np.asarray(_computed(lambda: self._values[place])))
        _touch((self, key), made)
        return made

    def __setitem__(self, key: Any, value: Any) -> None:
        if not isinstance(value, ndarray) or value._values.base is not self._values:
            traffic.count_operation("assign")
        place, values = _inner(key), _inner(value)
        _touch((key, value), self)
        self._values[place] = values
        _note(lambda: _work.fill(self._values[place], values))

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[ndarray]:
        return (self[k] for k in range(len(self)))

    def _scalar(self) -> Any:
        traffic.count_down(self._values)
        _touch(self, ())
        order.wait_here(order.mark(Stream.current().ptr))
        return self._values.item()

    def __bool__(self) -> bool:
        return bool(self._scalar())

    def __float__(self) -> float:
        return float(self._scalar())

    def __int__(self) -> int:
        return int(self._scalar())

    __index__ = __int__

    @property
    def T(self) -> ndarray:  # noqa: N802
        return ndarray(self._values.T)

    @property
    def real(self) -> ndarray:
        return ndarray(self._values.real)

    @property
    def imag(self) -> ndarray:
        return ndarray(self._values.imag)


class Runtime:
    """What CUDA itself is asked for: copies by addresses, which may be captured."""

    memcpyHostToDevice, memcpyDeviceToHost, memcpyDeviceToDevice = 1, 2, 3  # noqa: N815

    @classmethod
    def memcpyAsync(cls, to: int, source: int, size: int, way: int, stream: int) -> None:  # noqa: N802
        assert stream == Stream.current().ptr, "asked of another stream than the current one"
        if Device.current() in faults:
            raise faults[Device.current()]
        if way == cls.memcpyDeviceToDevice:
            read, filled = _memory.at(source, size), _memory.at(to, size)
            traffic.count_operation("copy", read, filled)
            _touch(read, filled)
            _ask(lambda: np.copyto(filled, read))
            return
        above, host = (to, source) if way == cls.memcpyHostToDevice else (source, to)
        part, values = _memory.at(above, size), _work.page_locked.at(host, size)
        if way == cls.memcpyHostToDevice:
            _touch((), part)
            _ask(lambda: cls._take(part, values))
        else:
            _touch(part, ())
            _ask(lambda: cls._bring(values, part))

    @staticmethod
    def _take(above: np.ndarray, values: np.ndarray) -> None:
        traffic.moved_up(values)
        _work.going_up(values)
        above[...] = values

    @staticmethod
    def _bring(out: np.ndarray, values: np.ndarray) -> None:
        traffic.begin_down(values)
        _work.going_down(values, out)


class Stream:
    """A stream, on which everything is done at once; counts how often it is waited for."""

    _entered = threading.local()

    def __init__(self, non_blocking: bool = False) -> None:
        self.ptr, self.waited = id(self), 0
        self._captures, self._aside = False, None

    @classmethod
    def _stack(cls) -> list[Any]:
        if not hasattr(cls._entered, "stack"):
            default = types.SimpleNamespace(ptr=0, synchronize=_wait_for_default)
            cls._entered.stack = [default]
        return cls._entered.stack

    @classmethod
    def current(cls) -> Any:
        return cls._stack()[-1]

    def synchronize(self) -> None:
        self.waited += 1
        order.wait_here(order.mark(self.ptr))
        traffic.waited()

    def wait_event(self, event: Any) -> None:
        assert event.time is not None, "CUDA would not wait"
        order.wait(self.ptr, event.time)

    def begin_capture(self) -> None:
        self._captures = True
        _work.begin()

    def end_capture(self) -> Any:
        self._captures = False
        return Graph(_work.end(), lambda: traffic.count_operation("graph"))

    def __enter__(self) -> Stream:
        self._stack().append(self)
        if _work.capturing() and not self._captures:
            self._aside = _work.aside()
        return self

    def __exit__(self, *_: object) -> None:
        if self._aside is not None:
            _work.back(self._aside)
            self._aside = None
        self._stack().pop()


def _wait_for_default() -> None:
    order.wait_here(order.mark(0))
    traffic.waited()


class Event:
    """A place in a stream that is waited for."""

    def __init__(self, block: bool = False, disable_timing: bool = False) -> None:
        self.time: Any = None

    def record(self, stream: Any = None) -> None:
        self.time = order.mark((stream or Stream.current()).ptr)

    def synchronize(self) -> None:
        assert self.time is not None, "CUDA would not wait"
        order.wait_here(self.time)
        traffic.waited()


def _gathers(key: Any) -> bool:
    """Whether an index copies, which slices and numbers do not."""
    parts = key if isinstance(key, tuple) else (key,)
    return any(isinstance(part, ndarray | list) for part in parts)


def _operator(name: str) -> Any:
    def applied(self: ndarray, *others: Any) -> Any:
        if any(isinstance(other, np.ndarray) for other in others):
            raise TypeError(f"{name}: Unsupported type <class 'numpy.ndarray'>")
        inner = [_inner(other) for other in others]
        if getattr(_inner(self), name)(*inner) is NotImplemented:
            return NotImplemented
        result = _computed_unless_view(name, lambda: getattr(_inner(self), name)(*inner))
        _touch((self, others), result)
        traffic.count_operation(name.strip("_"))
        if name.startswith("__i") and name != "__invert__":
            _refuse_in_capture("the double does not write in place")
            self._values = result
            return self
        return _outer(result)

    return applied


for _name in (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor",
    "lshift", "rshift",
):  # fmt: skip
    for _form in ("", "r", "i"):
        setattr(ndarray, f"__{_form}{_name}__", _operator(f"__{_form}{_name}__"))
for _name in ("lt", "le", "gt", "ge", "eq", "ne", "neg", "pos", "abs", "invert"):
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))
ndarray.__module__ = "cupy"


class _Module(types.ModuleType):
    """A module whose functions are another's, on the device's arrays alone."""

    def __init__(self, name: str, source: Any) -> None:
        super().__init__(name)
        self._source = source

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(self._source, name)
        if isinstance(found, types.ModuleType):
            return _Module(f"{self.__name__}.{name}", found)
        if not callable(found) or isinstance(found, type):
            return found
        if name in UPLOADS and self._source is np:
            return _uploading(found)

        def call(*args: Any, **given: Any) -> Any:
            traffic.count_operation(name)
            inner, named = _inner(args), _inner(given)
            made = _computed_unless_view(name, lambda: found(*inner, **named))
            if name not in NO_LAUNCH:
                _touch((args, given), made)
            return _outer(made)

        return call


class _Fourier(_Module):
    """Fourier transforms, which take plans."""

    def __getattr__(self, name: str) -> Any:
        if name == "get_fft_plan":
            return lambda array, shape, axes, kind: (kind, shape, axes)
        transform = super().__getattr__(name)
        return lambda *args, **given: transform(*args, **{**given, "plan": None})


def _uploading(function: Any) -> Any:
    def upload(values: Any, *args: Any, **given: Any) -> ndarray:
        if isinstance(values, ndarray):
            made = _computed(lambda: function(values._values, *args, **given))
            traffic.count_operation("copy", values._values, made)
            if made is not values._values:
                _touch(values, made)
            return ndarray(made)
        result = function(values, *args, **given)
        traffic.count_up(result)
        above = ndarray(result.copy() if result is values else result)
        _touch((), above)
        return above

    return upload


#: Ends the names of kernels that are of several frames, and what such a kernel is.
ABREAST = "_abreast"
OF_SEVERAL = re.compile(
    r"struct (\w+)_own \{.*?"
    r'extern "C" __global__ void (__launch_bounds__\(\w+\) )?\1_abreast.*?\n\}\n',
    re.DOTALL,
)


def of_one(code: str) -> str:
    """Source whose kernels are of one frame, of which others are of several."""
    for name, bounds in OF_SEVERAL.findall(code):
        own = f"__device__ static inline void {name}_own_work("
        assert own in code
        code = code.replace(own, f'extern "C" __global__ void {bounds}{name}(')
    return OF_SEVERAL.sub("", code)


class RawModule:
    """CUDA C source; the host's compiler stands in for NVRTC."""

    def __init__(self, *, code: str, options: tuple[str, ...] = ()) -> None:
        assert options == ("-fmad=false",), "the host's build contracts nothing"
        self._source = beside("cuda_on_host").compiled(of_one(code))

    def get_function(self, name: str) -> Any:
        def run(grid: tuple[int, ...], block: tuple[int], arguments: tuple[Any, ...]) -> None:
            traffic.count_operation(f"{name}.cu")
            if name.endswith(ABREAST):
                bare = name.removesuffix(ABREAST)
                for place in range(grid[1]):
                    one(bare, grid, block, self._own(bare, arguments[0], place))
            else:
                one(name, grid, block, [_inner_argument(a) for a in arguments])

        def one(name: str, grid: Any, block: Any, given: list[Any]) -> None:
            pairs = list(zip(given, self._source.read_only[name], strict=True))
            filled = [argument for argument, only_read in pairs if not only_read]
            _touch(given, filled)
            _ask(lambda: self._source.run(name, grid[0], block[0], given))

        return run

    def _own(self, name: str, every: np.ndarray, place: int) -> list[Any]:
        """Arguments of one of the frames whose structures are a kernel's only one."""
        host, given = beside("cuda_on_host"), list[Any]()
        parameters = self._source.kernels[name]
        own = np.dtype(
            [(label, np.uint64 if at else host.PLAIN[kind][0]) for kind, at, label in parameters],
            align=True,
        )
        for kind, at, label in parameters:
            value = every.view(np.uint8).view(own)[place][label]
            given.append(_memory.beyond(int(value), host.POINTED[kind]) if at else value)
        return given


def _inner_argument(value: Any) -> Any:
    if isinstance(value, ndarray):
        return _inner(value)
    if not isinstance(value, np.generic):
        raise TypeError(f"{type(value)}: CuPy would pass Python's numbers as 64 bits")
    return value


@contextmanager
def device() -> Iterator[Any]:
    """Stand in for CuPy while inside; gives the double of the module ``cupy``."""
    cupy, cupyx = _Module("cupy", np), types.ModuleType("cupyx")
    cupy.RawModule = RawModule  # type: ignore[attr-defined]
    cupy.cuda = types.SimpleNamespace(  # type: ignore[attr-defined]
        Device=Device,
        runtime=Runtime,
        Stream=Stream,
        Event=Event,
        get_current_stream=Stream.current,
        MemoryPool=MemoryPool,
        using_allocator=using_allocator,
    )
    cupyx.empty_pinned = _work.empty_pinned  # type: ignore[attr-defined]
    doubles = {
        "cupy": cupy,
        "cupyx": cupyx,
        "cupyx.scipy": types.ModuleType("cupyx.scipy"),
        "cupyx.scipy.ndimage": _Module("cupyx.scipy.ndimage", scipy.ndimage),
        "cupyx.scipy.fft": _Fourier("cupyx.scipy.fft", scipy.fft),
    }
    before = {name: sys.modules.get(name) for name in doubles}
    sys.modules.update(doubles)
    traffic.__init__()  # type: ignore[misc]
    order.__init__()  # type: ignore[misc]
    try:
        yield doubles["cupy"]
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module
