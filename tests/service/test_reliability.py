"""Short forms of bench/reliability: killed processes, bad connections, a bad neighbour, soak."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from pathlib import Path

import pytest

from latticewatch.fairness import FairWorkers

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from reliability import kills, neighbours, soak, weather
from reliability.hosted import alone
from reliability.movie import make_movie

FRAMES = weather.SHORT.frames
KILLS = 25
SEED = 3


@pytest.fixture(scope="module")
def movie(tmp_path_factory) -> Path:
    return make_movie(tmp_path_factory.mktemp("movie") / "movie.npy", FRAMES)


@pytest.fixture(scope="module")
def peace(movie, tmp_path_factory):
    """What comes of the movie when nobody disturbs it."""
    return alone(movie, tmp_path_factory.mktemp("peace"))


@pytest.mark.timeout(300)
def test_killed_and_stopped_processes_change_nothing(movie, peace, tmp_path):
    blows = kills.drawn(SEED, KILLS, FRAMES, pace=0.3)
    assert {blow.role for blow in blows} == {"service", "source", "subscriber"}
    war, fallen = kills.disturbed(movie, tmp_path / "war", blows)
    assert not peace.differences(war), f"seed {SEED}: {blows}"
    assert len(fallen) >= KILLS - 2  # the machine may be done before the last of them
    assert peace.frames.count("'ok'") == FRAMES


@pytest.mark.timeout(180)
def test_bad_connections_change_nothing(movie, peace, tmp_path):
    report = asyncio.run(weather.stormy(movie, tmp_path / "storm", weather.SHORT, SEED))
    assert not peace.differences(report.outcome), f"seed {SEED}"
    assert report.cuts > weather.SHORT.cuts
    assert report.resent > 0


@pytest.mark.timeout(180)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_bad_neighbour_changes_nothing(movie, peace, tmp_path):
    kinds = ("garbage", "misshapen", "unusable")
    report = neighbours.beside(movie, tmp_path, SEED, kinds)
    assert not peace.differences(report.outcome), f"seed {SEED}"
    assert min(report.sent[kind] for kind in kinds) > FRAMES
    assert report.rejected > FRAMES


@pytest.mark.timeout(180)
def test_a_short_soak_leaves_no_handle_open(movie, tmp_path):
    tenths = list(soak.soaked(movie, tmp_path, 20, 10))
    assert [len(tenth.latency_ms) for tenth in tenths] == [2] * 10
    assert soak.verdicts(tenths)["file handles"][0]


def tenth(number, p99=100.0, resident=100_000, handles=30):
    return soak.Tenth(number, [p99] * 100, 1.0, 1.0, resident, handles)


@pytest.mark.parametrize(
    ("item", "worse"),
    [
        ("resident memory", {"resident": 106_000}),
        ("p99 of latency", {"p99": 111.0}),
        ("file handles", {"handles": 31}),
    ],
)
def test_the_soak_tells_growth_from_rest(item, worse):
    flat = [tenth(number) for number in range(10)]
    assert all(well for well, _ in soak.verdicts(flat).values())
    verdicts = soak.verdicts([*flat[:-1], tenth(9, **worse)])
    assert [name for name, (well, _) in verdicts.items() if not well] == [item]


def test_streams_take_turns():
    """With one thread and a long queue of one stream, another waits for two jobs at most."""
    order: list[str] = []
    gate = threading.Event()

    def job(name: str) -> str:
        gate.wait(20)
        order.append(name)
        return name

    async def scene() -> list[str]:
        with contextlib.closing(FairWorkers(1, "test")) as workers:
            flood = [workers.submit("flood", job, f"f{k}") for k in range(20)]
            good = [workers.submit("good", job, f"g{k}") for k in range(3)]
            gate.set()
            return list(await asyncio.gather(*flood, *good))

    told = asyncio.run(scene())
    assert told == [f"f{k}" for k in range(20)] + ["g0", "g1", "g2"]
    assert order[:8] == ["f0", "f1", "f2", "g0", "f3", "g1", "f4", "g2"]


def test_a_failed_job_fails_its_future_alone():
    async def scene() -> None:
        with contextlib.closing(FairWorkers(1, "test")) as workers:
            bad, good = workers.submit("a", int, "x"), workers.submit("a", int, "7")
            assert await good == 7
            with pytest.raises(ValueError, match="invalid literal"):
                await bad

    asyncio.run(scene())
