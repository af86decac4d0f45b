"""Providers that fail, at the start and while frames run; a double stands for ONNX Runtime."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from latticewatch_models import sessions
from latticewatch_models.providers import PROVIDERS, Choice, Machine, PassedOver, ProviderError
from latticewatch_models.runtime import ZOO_MODEL
from latticewatch_models.sessions import FallingSession, UnreadableModelError

ALL = ("tensorrt", "cuda", "cpu")
IMAGE, WANTED = np.zeros((1, 1, 16, 16), np.float32), {"heat": (1, 1, 4, 4)}


class Runtime:
    """Stands for the onnxruntime module: which providers start, and which fail when they run.

    `dropped` are left out of a session without a word, as ONNX Runtime does when libraries are
    missing; `refused` raise when a session is opened, `breaking` when it runs.
    """

    SessionOptions = type("SessionOptions", (), {})

    def __init__(self, dropped=(), refused=(), breaking=(), readable=True):
        self.dropped, self.refused, self.breaking = dropped, refused, set(breaking)
        self.readable, self.opened = readable, []

    def InferenceSession(self, model, options, providers):  # noqa: N802
        full = [p if isinstance(p, str) else p[0] for p in providers]
        names = [name for name in PROVIDERS if PROVIDERS[name] in full]
        self.opened.append(names[0])
        if not self.readable:
            raise RuntimeError("Protobuf parsing failed")
        for name in names:
            if name in self.refused:
                raise RuntimeError(f"{name}: engine cannot be built\nmore")
        kept = [PROVIDERS[name] for name in names if name not in self.dropped]
        return Session(kept or [PROVIDERS["cpu"]], self)


class Session:
    def __init__(self, providers, runtime):
        self.providers, self.runtime = providers, runtime

    def get_providers(self):
        return self.providers

    def get_inputs(self):
        return [SimpleNamespace(name="frame")]

    def run(self, outputs, feeds):
        first = next(name for name in PROVIDERS if PROVIDERS[name] == self.providers[0])
        if first in self.runtime.breaking:
            raise RuntimeError(f"{first} failed: out of memory\nstack")
        return [first]


@pytest.fixture
def opened(monkeypatch):
    """Open a session on a double, with what it told of falls."""

    def opened(names=ALL, required=0, every=True, **faults):
        runtime, told = Runtime(**faults), []
        monkeypatch.setattr(sessions, "onnxruntime", runtime)
        machine = Machine(load=lambda path: None)
        session = FallingSession(
            b"", Choice(names, (), 0, required, every), machine=machine, told=told.append
        )
        return session, runtime, told

    return opened


def test_the_first_that_starts_is_used(opened):
    session, runtime, _ = opened()
    assert session.providers[0] == "tensorrt"
    assert runtime.opened == ["tensorrt"]
    assert session.run(IMAGE, WANTED) == ["tensorrt"]


def test_one_that_is_left_out_without_a_word_is_passed_over_by_name(opened, caplog):
    session, _, _ = opened(dropped=("tensorrt",))
    assert session.providers[0] == "cuda"
    assert [passed.name for passed in session.passed_over] == ["tensorrt"]
    assert "provider passed over: tensorrt: did not start" in caplog.text


def test_one_that_cannot_be_opened_is_passed_over_with_its_own_words(opened):
    session, _, _ = opened(refused=("tensorrt",))
    assert session.providers[0] == "cuda"
    (passed,) = session.passed_over
    assert passed == PassedOver(
        "tensorrt", "did not start (tensorrt: engine cannot be built)", passed.mend
    )


def test_a_required_one_that_does_not_start_is_an_error(opened):
    with pytest.raises(ProviderError, match=r"'tensorrt' did not start .*engine cannot be built"):
        opened(required=1, refused=("tensorrt",))
    with pytest.raises(ProviderError, match="'cuda' did not start"):
        opened(required=2, dropped=("cuda",))


def test_of_those_of_which_any_will_do_the_last_is_an_error(opened):
    """As for a device that was named, where TensorRT's libraries are often missing."""
    session, _, _ = opened(required=2, every=False, dropped=("tensorrt",))
    assert session.providers[0] == "cuda"
    assert [passed.name for passed in session.passed_over] == ["tensorrt"]
    for faults in ({"dropped": ("tensorrt", "cuda")}, {"refused": ("tensorrt", "cuda")}):
        with pytest.raises(ProviderError, match="'cuda' did not start"):
            opened(required=2, every=False, **faults)


def test_what_the_cpu_cannot_read_is_the_models_fault(opened):
    for names in (ALL, ("cpu",)):
        with pytest.raises(UnreadableModelError, match="Protobuf parsing failed"):
            opened(names, readable=False)


@pytest.mark.expects_errors
def test_a_frame_whose_provider_fails_runs_on_the_next(opened, caplog):
    session, _, told = opened(breaking=("tensorrt", "cuda"))
    assert session.run(IMAGE, WANTED) == ["cpu"]
    assert [(f.before, f.after) for f in told] == [("tensorrt", "cuda"), ("cuda", "cpu")]
    assert session.falls == tuple(told)
    assert told[0].reason == "tensorrt failed: out of memory"
    assert "frames go on with cuda" in caplog.text
    session.run(IMAGE, WANTED)
    assert len(told) == 2


def test_what_fails_on_the_cpu_too_is_raised(opened):
    session, _, told = opened(("cpu",), breaking=("cpu",))
    with pytest.raises(RuntimeError, match="cpu failed"):
        session.run(IMAGE, WANTED)
    assert told == []


@pytest.mark.expects_errors
def test_many_threads_that_meet_the_same_failure_fall_once(opened):
    session, runtime, told = opened()
    together = threading.Barrier(8)

    def frame(_):
        together.wait(timeout=30)
        return session.run(IMAGE, WANTED)

    runtime.breaking.add("tensorrt")
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(frame, range(8)))
    assert seen == [["cuda"]] * 8
    assert [(f.before, f.after) for f in told] == [("tensorrt", "cuda")]


class Bound:
    """A real session of ONNX Runtime on the CPU that takes itself for one on CUDA.

    Device memory is the host's here (`device_double`), so that what is bound by address is real.
    """

    def __init__(self, session):
        self.session = session

    def get_providers(self):
        return [PROVIDERS["cuda"]]

    def get_inputs(self):
        return self.session.get_inputs()

    def io_binding(self):
        binding = self.session.io_binding()

        def on_host(bind):
            def bound(name, kind, index, *rest):
                assert (kind, index) == ("cuda", 0)
                bind(name, "cpu", 0, *rest)

            return bound

        real_input, real_output = on_host(binding.bind_input), on_host(binding.bind_output)
        return SimpleNamespace(binding=binding, bind_input=real_input, bind_output=real_output)

    def run_with_iobinding(self, bound):
        self.session.run_with_iobinding(bound.binding)


def test_a_frame_on_the_device_is_read_where_it_lies(device_double):
    real = onnxruntime.InferenceSession(ZOO_MODEL.read_bytes(), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(7).normal(size=(1, 1, 48, 64)).astype(np.float32)
    shapes = {"heat": (1, 1, 24, 32), "offset": (1, 2, 24, 32)}
    above = device_double.cupy.asarray(image)
    device_double.traffic.__init__()
    results = sessions._run(Bound(real), above, shapes, 0)
    assert (device_double.traffic.up, device_double.traffic.down) == (0, 0)
    for result, expected in zip(results, real.run(list(shapes), {"frame": image}), strict=True):
        np.testing.assert_array_equal(result.get(), expected)


def test_a_frame_on_the_device_comes_down_for_a_provider_on_the_host(device_double):
    real = onnxruntime.InferenceSession(ZOO_MODEL.read_bytes(), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(8).normal(size=(1, 1, 48, 64)).astype(np.float32)
    results = sessions._run(real, device_double.cupy.asarray(image), {"heat": (1, 1, 24, 32)}, 0)
    np.testing.assert_array_equal(results[0].get(), real.run(["heat"], {"frame": image})[0])
