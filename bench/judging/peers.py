"""The peers on the same frames: each with the setting that is best for it on frames set apart."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from peers import fft_subtraction

from judging.counting import Found, Tally, tally
from judging.frames import TRAINING_SEED, TUNING_SEED, Condition, Judged, acquire, judged
from latticewatch_models.microscope import SimulatedFrame
from latticewatch_models.truth import disc_mask

PEERS = Path(__file__).resolve().parents[1] / "peers"

#: Frames to a dose on which settings are chosen, and on which AtomAI is trained.
TUNING_FRAMES, TRAINING_FRAMES = 8, 6
#: Radius of a defect's mask for AtomAI, pixels: half the distance of neighbouring columns, so that
#: the masks of neighbours are two.
MASK_RADIUS_PX = 3.0
#: FFT subtraction's thresholds that are tried, below and above; 0 and 1 leave that side out.
LOW = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4)
HIGH = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0)


@dataclass(frozen=True)
class Outcome:
    """A peer's counts on the test frames, and the setting chosen for it."""

    tally: Tally
    setting: str


#: Frames by dose.
Sets = dict[float, list[SimulatedFrame]]


def tuning_frames(doses: Sequence[float]) -> Sets:
    return {
        dose: [acquire(Condition(dose), TUNING_SEED + k) for k in range(TUNING_FRAMES)]
        for dose in doses
    }


def fft_outcomes(tuning: Sets, test: Sets) -> dict[str, dict[float, Outcome]]:
    """FFT subtraction with the published thresholds, and with the best by dose."""
    published: dict[float, Outcome] = {}
    tuned: dict[float, Outcome] = {}
    for dose, frames in test.items():
        left = [fft_subtraction.residual(f.image) for f in tuning[dose]]
        answers = [judged(f.truth) for f in tuning[dose]]
        candidates = [(low, high) for low in LOW for high in HIGH]
        scores = [_count([fft_subtraction.detect(one, c) for one in left], answers).f1()
                  for c in candidates]  # fmt: skip
        best = candidates[int(np.argmax(scores))]
        left = [fft_subtraction.residual(f.image) for f in frames]
        answers = [judged(f.truth) for f in frames]
        for table, pair in ((published, fft_subtraction.PUBLISHED), (tuned, best)):
            points = [fft_subtraction.detect(one, pair) for one in left]
            table[dose] = Outcome(_count(points, answers), f"below {pair[0]:g}, above {pair[1]:g}")
    return {"FFT subtraction, as published": published, "FFT subtraction": tuned}


def guest_outcomes(
    tuning: Sets, test: Sets, venv: Path, cycles: int, kept: Path
) -> tuple[dict[str, dict[float, Outcome]], dict[str, Any]]:
    """AtomAI and blob_log, and how AtomAI was trained.

    What they answer is kept in the file `kept` and taken from there when they would be asked the
    same again, so that another model of ours is judged beside them without training AtomAI anew.

    Raises
    ------
    RuntimeError
        Their environment could not be made or they did not run; the message is one line.
    """
    images, masks = _training_set(tuple(test))
    arrays = {"train_images": images, "train_masks": masks}
    for label, sets in (("tune", tuning), ("test", test)):
        for dose, frames in sets.items():
            arrays[f"{label}_{dose:g}"] = np.stack([f.image for f in frames])
    question = _digest(arrays, cycles)
    answer = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    if answer.get("question") != question:
        answer = _ask(arrays, venv, cycles) | {"question": question}
        kept.write_text(json.dumps(answer), encoding="utf-8")
    outcomes = {
        peer: {
            dose: _best(by_dose[f"{dose:g}"], tuning[dose], frames) for dose, frames in test.items()
        }
        for peer, by_dose in answer["found"].items()
    }
    return outcomes, answer["facts"] | {"frames": len(images)}


def _digest(arrays: dict[str, np.ndarray], cycles: int) -> str:
    """Name everything that the guests' answer depends on."""
    digest = hashlib.sha256(str(cycles).encode())
    for name, array in sorted(arrays.items()):
        digest.update(name.encode() + array.tobytes())
    for name in ("detect.py", "fft_subtraction.py", "requirements-atomai.txt"):
        digest.update((PEERS / name).read_bytes())
    return digest.hexdigest()


def _ask(arrays: dict[str, np.ndarray], venv: Path, cycles: int) -> dict[str, Any]:
    """Run the guests in their environment."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "frames.npz", **arrays)
        script = [sys.executable, str(PEERS / "run_detectors.py"), "--venv", str(venv)]
        options = ["--folder", name, "--cycles", str(cycles)]
        done = subprocess.run(script + options, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError((done.stderr.strip().splitlines() or ["no reason given"])[-1])
        return dict(json.loads((folder / "found.json").read_text(encoding="utf-8")))


def _training_set(doses: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Frames of all doses in mixed order, and masks of their defects; (n, rows, columns) each."""
    seeds = range(TRAINING_FRAMES)
    frames = [
        acquire(Condition(dose), TRAINING_SEED + len(doses) * k + n)
        for k in seeds
        for n, dose in enumerate(doses)
    ]
    masks = [disc_mask(f.truth.shape, f.truth.points, MASK_RADIUS_PX) for f in frames]
    return np.stack([f.image for f in frames]), np.stack(masks).astype(np.uint8)


def _best(
    by_setting: dict[str, list[Any]], tuning: list[SimulatedFrame], test: list[SimulatedFrame]
) -> Outcome:
    answers = [judged(f.truth) for f in tuning]
    scores = {s: _count(points[: len(tuning)], answers).f1() for s, points in by_setting.items()}
    best = max(scores, key=lambda setting: np.nan_to_num(scores[setting]))
    answers = [judged(f.truth) for f in test]
    return Outcome(_count(by_setting[best][len(tuning) :], answers), best)


def _count(points: Sequence[Any], answers: Sequence[Judged]) -> Tally:
    arrays = [np.asarray(one, float).reshape(-1, 2) for one in points]
    found = [Found(one, np.ones(len(one))) for one in arrays]
    return tally(zip(found, answers, strict=True))
