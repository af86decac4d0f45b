"""ONNX Runtime's CUDA provider: a session on the CPU that is bound to the stand-in's memory.

Put where Python looks for ``sitecustomize``, so that it holds in every process.
"""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import onnxruntime

CUDA = "CUDAExecutionProvider"

_runtime = ctypes.CDLL("libcudart.so.13")
_runtime.stand_in_finish.argtypes = [ctypes.c_void_p]
_runtime.cudaStreamIsCapturing.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)]
_Call = ctypes.CFUNCTYPE(None)
_runtime.stand_in_ask.argtypes = [ctypes.c_void_p, _Call]
_Session, _available = onnxruntime.InferenceSession, onnxruntime.get_available_providers


class Session:
    """Has the stream that it shares done, runs at once, and so leaves that stream in order.

    Where the stream is captured it runs at each start of the graph.
    """

    def __init__(self, model: Any, options: Any = None, providers: Any = None, **_: Any) -> None:
        named = dict(one if isinstance(one, tuple) else (one, {}) for one in providers or [])
        self._cuda = CUDA in named
        self._stream = int(named.get(CUDA, {}).get("user_compute_stream", 0))
        self._session = _Session(model, options, providers=["CPUExecutionProvider"])
        self._calls: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def get_providers(self) -> list[str]:
        return [CUDA, "CPUExecutionProvider"] if self._cuda else ["CPUExecutionProvider"]

    def io_binding(self) -> Any:
        binding = self._session.io_binding()

        def here(bind: Any) -> Any:
            return lambda name, kind, index, *rest: bind(name, "cpu", 0, *rest)

        return SimpleNamespace(
            binding=binding,
            bind_input=here(binding.bind_input),
            bind_output=here(binding.bind_output),
        )

    def run_with_iobinding(self, bound: Any, options: Any = None) -> None:
        captures = ctypes.c_int(0)
        if self._stream:
            _runtime.cudaStreamIsCapturing(self._stream, ctypes.byref(captures))
        if captures.value:
            # a graph may start it for as long as the session lives
            self._calls.append(_Call(lambda: self._run(bound.binding)))
            assert _runtime.stand_in_ask(self._stream, self._calls[-1]) == 0
            return
        if self._stream:
            _runtime.stand_in_finish(self._stream)
        self._run(bound.binding)

    def _run(self, binding: Any) -> None:
        self._session.run_with_iobinding(binding)


onnxruntime.InferenceSession = Session
onnxruntime.get_available_providers = lambda: [CUDA, *_available()]
