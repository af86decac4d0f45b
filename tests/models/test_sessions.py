"""Providers that fail, at the start and while frames run; a double stands for ONNX Runtime."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from latticewatch_models import sessions
from latticewatch_models.providers import PROVIDERS, Choice, Machine, PassedOver, ProviderError
from latticewatch_models.sessions import FallingSession, UnreadableModelError

ALL = ("tensorrt", "cuda", "cpu")


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

    def run(self, outputs, feeds):
        first = next(name for name in PROVIDERS if PROVIDERS[name] == self.providers[0])
        if first in self.runtime.breaking:
            raise RuntimeError(f"{first} failed: out of memory\nstack")
        return [first]


@pytest.fixture
def opened(monkeypatch):
    """Open a session on a double, with what it told of falls."""

    def opened(names=ALL, required=0, **faults):
        runtime, told = Runtime(**faults), []
        monkeypatch.setattr(sessions, "onnxruntime", runtime)
        machine = Machine(load=lambda path: None)
        session = FallingSession(
            b"", Choice(names, required=required), machine=machine, told=told.append
        )
        return session, runtime, told

    return opened


def test_the_first_that_starts_is_used(opened):
    session, runtime, _ = opened()
    assert session.providers[0] == "tensorrt"
    assert runtime.opened == ["tensorrt"]
    assert session.run(["heat"], {}) == ["tensorrt"]


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


def test_what_the_cpu_cannot_read_is_the_models_fault(opened):
    for names in (ALL, ("cpu",)):
        with pytest.raises(UnreadableModelError, match="Protobuf parsing failed"):
            opened(names, readable=False)


@pytest.mark.expects_errors
def test_a_frame_whose_provider_fails_runs_on_the_next(opened, caplog):
    session, _, told = opened(breaking=("tensorrt", "cuda"))
    assert session.run(["heat"], {}) == ["cpu"]
    assert [(f.before, f.after) for f in told] == [("tensorrt", "cuda"), ("cuda", "cpu")]
    assert session.falls == tuple(told)
    assert told[0].reason == "tensorrt failed: out of memory"
    assert "frames go on with cuda" in caplog.text
    session.run(["heat"], {})
    assert len(told) == 2


def test_what_fails_on_the_cpu_too_is_raised(opened):
    session, _, told = opened(("cpu",), breaking=("cpu",))
    with pytest.raises(RuntimeError, match="cpu failed"):
        session.run(["heat"], {})
    assert told == []


@pytest.mark.expects_errors
def test_many_threads_that_meet_the_same_failure_fall_once(opened):
    session, runtime, told = opened()
    together = threading.Barrier(8)

    def frame(_):
        together.wait(timeout=30)
        return session.run(["heat"], {})

    runtime.breaking.add("tensorrt")
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(frame, range(8)))
    assert seen == [["cuda"]] * 8
    assert [(f.before, f.after) for f in told] == [("tensorrt", "cuda")]
