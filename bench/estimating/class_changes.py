"""Sessions of descriptors whose kinds stay, merge or split, for the watch over the classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from latticewatch.tracker.class_changes import judge
from latticewatch.tracker.class_watch import ClassWatch, Verdict
from latticewatch.tracker.classes import Classifier
from latticewatch.tracker.mixture import reordered, steps_behind
from latticewatch.tracker.mixture_start import warm_start
from latticewatch.tracker.moments import Moments, products
from latticewatch.tracker.settings import TrackerSettings


@dataclass(frozen=True)
class Frame:
    """Descriptors of a frame, the sites they were seen on, and their true kinds."""

    points: np.ndarray
    site: np.ndarray
    kind: np.ndarray


#: Shares of the kinds of a long session, and places of their means, in standard deviations of one
#: look, along axes of their own.
SHARES = np.array([0.4, 0.3, 0.2, 0.1])
DISTANCE, DIMENSIONS, SIGMA = 7.0, 10, 0.05
#: Share of a site's defects that are replaced by others in a frame, and of a look's variance that
#: stays with its site.
RENEWED, REPEATED = 0.02, 0.25


def session(
    frames: int, seed: int, defects: int = 20, change: str = "", begin: int = 0, over: int = 200
) -> Iterator[Frame]:
    """Frames of a session whose kinds stay, or change from frame `begin` on.

    ``merge``: kinds 1 and 2 come to look the same within `over` frames, as when contrast is lost;
    ``split``: half of kind 0 goes away from the other half, by as much as kinds stand apart.
    """
    rng = np.random.default_rng(seed)
    means = DISTANCE * np.eye(len(SHARES), DIMENSIONS)
    away = DISTANCE * np.eye(1, DIMENSIONS, k=len(SHARES))[0]
    kind = rng.choice(len(SHARES), defects, p=SHARES)
    half, site = rng.random(defects) < 0.5, np.arange(defects)
    own = np.sqrt(REPEATED) * rng.normal(size=(defects, DIMENSIONS))
    for frame in range(frames):
        new = rng.random(defects) < RENEWED
        kind = np.where(new, rng.choice(len(SHARES), defects, p=SHARES), kind)
        half = np.where(new, rng.random(defects) < 0.5, half)
        site = np.where(new, site + defects, site)
        fresh = np.sqrt(REPEATED) * rng.normal(size=own.shape)
        own = np.where(new[:, None], fresh, own)
        gone = min(max(frame - begin, 0) / over, 1.0)
        place = means[kind] + own
        if change == "merge":
            side = (kind == 2).astype(float) - (kind == 1)
            place = place + 0.5 * gone * side[:, None] * (means[1] - means[2])
        elif change == "split":
            place = place + gone * ((kind == 0) & half)[:, None] * away
        look = np.sqrt(1 - REPEATED) * rng.normal(size=own.shape)
        yield Frame(SIGMA * (place + look), site, kind)


def warmed(frames: Iterator[Frame], settings: TrackerSettings, floor: float) -> Classifier:
    """Start a classifier on descriptors alone, classes in the order of the kinds."""
    seen: list[Frame] = []
    while sum(len(f.kind) for f in seen) < settings.warm_up:
        seen.append(next(frames))
    points, kind = (np.concatenate([getattr(f, n) for f in seen]) for n in ("points", "kind"))
    mixture = warm_start(points, len(SHARES), np.random.default_rng(0), settings.starts, floor)
    steps = steps_behind(len(points), settings.batch, settings.step_exponent)
    r = mixture.responsibilities(points)[0]
    mixture = reordered(mixture, (np.eye(len(SHARES))[kind].T @ r).argmax(axis=1))
    mixture = replace(mixture, steps=steps)
    blank = Classifier.empty(settings.room)
    roster = replace(blank.roster, numbers=np.arange(len(SHARES)))
    watch = ClassWatch.empty(settings.room, DIMENSIONS)
    return replace(
        blank,
        mixture=mixture,
        pending=Moments.empty(len(SHARES), DIMENSIONS),
        roster=roster,
        watch=watch,
        floor=floor,
    )


def follow(
    frames: Iterator[Frame], settings: TrackerSettings
) -> Iterator[tuple[Classifier, Frame, np.ndarray, Verdict | None]]:
    """Run the classifier on descriptors alone; its state, the frame, class numbers and a change."""
    floor = (0.5 * SIGMA) ** 2
    classifier = warmed(frames, settings, floor)
    for number, frame in enumerate(frames):
        table = products(frame.points)
        by_component = classifier.mixture.told(table)[0]
        r = classifier.roster.spread(by_component)
        pending = classifier.pending + Moments.of(table, by_component)
        best = r.argmax(axis=0)
        watch = classifier.watch.noted(r, best, frame.points, frame.site, settings.seed)
        classifier = replace(classifier, pending=pending, watch=watch)
        if pending.n >= settings.batch:
            classifier = classifier.caught_up(settings)
        classifier, verdict = judge(classifier, number, settings)
        yield classifier, frame, best, verdict


def changes(
    length: int, seed: int, defects: int, change: str, begin: int
) -> tuple[list[tuple[int, str]], float]:
    """Run a session: the changes that were told, and the share of descriptors in their own class.

    Of kinds that changed only the frames before count.
    """
    told, right, total = [], 0, 0
    session_frames = session(length, seed, defects, change, begin)
    for number, (_, frame, found, verdict) in enumerate(follow(session_frames, TrackerSettings())):
        if verdict is not None:
            told.append((number, "merge" if verdict.division is None else "split"))
        if not change or number < begin:
            right += int((found == frame.kind).sum())
            total += len(found)
    return told, right / max(total, 1)


def change_rows(*, quick: bool) -> list[tuple[str, int, int, int, float]]:
    """Change, defects a frame, sessions, those that told just that, mean delay in frames."""
    sessions, rows = (3 if quick else 10), []
    for defects, length in ((20, 1500), (75, 1000)):
        for change in ("", "merge", "split"):
            told = [changes(length, seed, defects, change, 400)[0] for seed in range(sessions)]
            wanted = [change] if change else []
            right = [t for t in told if [kind for _, kind in t] == wanted]
            delay = float(np.mean([t[0][0] - 400 for t in right])) if change and right else 0.0
            rows.append((change or "none", defects, sessions, len(right), delay))
    return rows


def main_table(quick: bool) -> str:
    """All rows as text; each change begins in frame 400 and is complete 200 frames later."""
    heads = ("defects", "sessions", "right", "frames till told")
    lines = [f"{'change':<8}" + "".join(f"{head:>18}" for head in heads)]
    for change, *counts, delay in change_rows(quick=quick):
        cells = [*(str(count) for count in counts), f"{delay:.0f}"]
        lines.append(f"{change:<8}" + "".join(f"{cell:>18}" for cell in cells))
    return "\n".join(lines)
