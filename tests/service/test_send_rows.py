"""``latticewatch send --rows``: blocks as a scan acquires them."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest

from latticewatch.cli import main, send
from latticewatch.client import PublisherFullError, PublisherStats
from latticewatch_models.microscope import Microscope

SIZE, SEED = 64, 4


class Clock:
    """Time that passes while somebody sleeps."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Publisher:
    """Takes rows and notes when they came; its memory is full once."""

    def __init__(self, clock):
        self.clock, self.frames, self.full = clock, [], True

    def __call__(self, *_, **__):
        return self

    @contextlib.contextmanager
    def frame(self, shape, dtype, **fields):
        if self.full and len(self.frames) == 1:
            self.full = False
            raise PublisherFullError
        blocks = []
        taken = SimpleNamespace(rows=lambda b: blocks.append((self.clock.now, b.copy())))
        yield taken
        self.frames.append((fields, blocks))

    def end(self):
        pass

    def flush(self, _):
        return True

    def close(self):
        pass

    @property
    def stats(self):
        count = len(self.frames)
        return PublisherStats(count, count, 0, 0, 0, 0, connected=True)


@pytest.mark.parametrize("rate", [None, 4.0])
def test_blocks_come_over_the_time_of_a_frame(monkeypatch, capsys, rate):
    clock = Clock()
    publisher = Publisher(clock)
    monkeypatch.setattr(send, "time", clock)
    monkeypatch.setattr(send, "Publisher", publisher)
    arguments = ["send", "--simulate", "--frames", "3", "--size", str(SIZE), "--seed", str(SEED)]
    assert main([*arguments, "--rows", "24", *(["--rate", str(rate)] if rate else [])]) == 0
    assert "sent 3 frames: 3 acknowledged" in capsys.readouterr().out
    true = Microscope("WS2", (SIZE, SIZE), SEED)
    period = 1 / rate if rate else true.header["frame_time_s"]
    begin = 100.0
    for (fields, blocks), frame in zip(publisher.frames, true.frames(3), strict=True):
        np.testing.assert_array_equal(np.concatenate([b for _, b in blocks]), frame.image)
        assert [len(b) for _, b in blocks] == [24, 24, 16]
        acquired = [begin + period * rows / SIZE for rows in (24, 48, 64)]
        assert [at for at, _ in blocks] == pytest.approx(acquired)
        assert fields["time_s"] == frame.time_s
        begin += period


def test_rows_of_none_are_refused(capsys):
    assert main(["send", "--simulate", "--rows", "0"]) == 2
    assert "--rows 0" in capsys.readouterr().err
