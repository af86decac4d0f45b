"""Processes killed and stopped at random moments: what comes of it is what comes of a run in peace.

Every moment is a frame that a subscriber must have heard of, and a pause after it, both drawn from
the seed. A seed draws the same blows; where in a process they fall is up to the machine.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from latticewatch.client import Defects, Subscriber
from reliability.movie import STREAM, make_movie
from reliability.outcome import Outcome
from reliability.roles import NAMES, SERVICE, SOURCE, WATCHER, Role, RoleError, cast

#: Frames of the movie to each blow: enough that a service which starts in a second gets some done.
FRAMES_A_BLOW = 4

#: Pause after the frame at which a blow is due, and how long a process is stopped, at most, s.
#: A frame takes some 0.03 s and a service some 1.5 s to start: both of them are met at work.
PAUSE_S, STOPPED_S = 0.3, 1.0
LONG_PAUSE_S = 2.5
LONG_SHARE = 0.1

#: The last frames are left in peace, so that nobody is done before his last blow.
DUE_SHARE = 0.8

#: The long form, in movies of 400 frames: two of three blows kill and a few come too late, so that
#: so many make 1,000 kills.
BLOWS_A_SEED, LONG_SEEDS = 100, 16

#: Silence of the results after which something must be wrong.
SILENCE_S = 90.0


@dataclass(frozen=True)
class Blow:
    """One signal: to whom, when (frame and pause), and for SIGSTOP how long."""

    role: str
    kill: bool
    frame: int
    pause_s: float
    stopped_s: float


def drawn(seed: int, count: int, frames: int, pace: float = 1.0) -> list[Blow]:
    """Draw so many blows over a movie of so many frames; two of three kill. Times go by `pace`."""
    rng = Random(seed)  # noqa: S311 - drawn moments, no secrets
    due = sorted(rng.randrange(round(DUE_SHARE * frames)) for _ in range(count))
    return [
        Blow(
            role=rng.choice(NAMES),
            kill=rng.random() < 2 / 3,
            frame=frame,
            pause_s=pace * rng.uniform(0, LONG_PAUSE_S if rng.random() < LONG_SHARE else PAUSE_S),
            stopped_s=pace * rng.uniform(0, STOPPED_S),
        )
        for frame in due
    ]


def in_peace(movie: Path, folder: Path) -> Outcome:
    """Let the movie through undisturbed."""
    with cast(movie, folder) as (roles, _):
        return _finished(roles, folder)


def disturbed(movie: Path, folder: Path, blows: list[Blow]) -> tuple[Outcome, list[Blow]]:
    """Let the movie through under blows; return what came of it, and the blows that have fallen."""
    fallen = []
    with (
        cast(movie, folder) as (roles, ports),
        Subscriber(ports["results"], STREAM, ("defects",)) as results,
    ):
        heard = -1
        for blow in blows:
            heard = _until(results, blow.frame, heard, roles)
            if _strike(roles[blow.role], blow):
                fallen.append(blow)
        return _finished(roles, folder), fallen


def _until(results: Subscriber, frame: int, heard: int, roles: dict[str, Role]) -> int:
    """Wait until the results tell of a frame, or the source has nothing more to send."""
    deadline = time.monotonic() + SILENCE_S
    while heard < frame and not roles[SOURCE].done:
        try:
            message = results.receive(1.0)
        except TimeoutError:
            if time.monotonic() > deadline or roles[SERVICE].done:
                logs = "\n".join(f"{name}: {role.tail()}" for name, role in roles.items())
                raise RoleError(f"frame {heard + 1} does not come:\n{logs}") from None
            continue
        if isinstance(message, Defects):
            heard = message.frame
            deadline = time.monotonic() + SILENCE_S
    return heard


def _strike(role: Role, blow: Blow) -> bool:
    time.sleep(blow.pause_s)  # not to wait for anything: it makes the moment a random one
    if role.done:
        return False
    if blow.kill:
        role.kill()
        return True
    role.signal(signal.SIGSTOP)
    time.sleep(blow.stopped_s)
    role.signal(signal.SIGCONT)
    return True


def _finished(roles: dict[str, Role], folder: Path) -> Outcome:
    """Wait for the end of the stream, and hold the subscriber's file against the store."""
    roles[SOURCE].wait(3 * SILENCE_S)
    roles[WATCHER].wait(SILENCE_S)
    roles[SERVICE].end()
    outcome = Outcome.of(folder / "data" / STREAM)
    check_seen(folder / "seen.txt", folder / "data" / STREAM)
    return outcome


def check_seen(seen: Path, session: Path) -> None:
    """Raise AssertionError unless the subscriber has seen each frame once, as the store has it."""
    from latticewatch.storage.session import Session
    from reliability.watcher import lines_of

    with Session.open_read(session) as stored:
        table, count = stored.defects(), len(stored.frames())
    if seen.read_text().splitlines() != lines_of(table, 0, count - 1):
        raise AssertionError(f"{seen} is not what {session} holds")


def trial(blows: int, seed: int) -> tuple[int, str]:
    """Run both; give how many kills there were, and a line that says what came of it."""
    frames = FRAMES_A_BLOW * blows
    with TemporaryDirectory() as name:
        folder = Path(name)
        movie = make_movie(folder / "movie.npy", frames)
        started = time.monotonic()
        peace = in_peace(movie, folder / "peace")
        between = time.monotonic()
        war, fallen = disturbed(movie, folder / "war", drawn(seed, blows, frames))
        took = time.monotonic() - between
        differ = peace.differences(war)
    verdict = "FAIL: " + ", ".join(differ) if differ else "PASS"
    kills = sum(blow.kill for blow in fallen)
    return kills, (
        f"seed {seed}: {kills} kills and {len(fallen) - kills} stops in {frames} frames, "
        f"{took:.0f} s (in peace {between - started:.0f} s): {verdict}"
    )


def main(long: bool) -> bool:
    """Print a line for each hundred blows; whether all passed."""
    killed, well = 0, True
    for seed in range(LONG_SEEDS if long else 1):
        count, line = trial(BLOWS_A_SEED, seed)
        killed, well = killed + count, well and line.endswith("PASS")
        print(f"{line} ({killed} kills in all)", flush=True)
    return well
