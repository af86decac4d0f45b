"""Run inside AtomAI's environment by run_detectors.py: where AtomAI and scikit-image see defects.

Reads ``frames.npz`` of a folder (train_images, train_masks; tune_D and test_D for each dose D, all
of shape (n, rows, columns)) and writes ``found.json`` there: for each detector and dose, for each
of its settings (thresholds), the points (x, y) of every tuning and every test frame. Which setting
is the best is chosen by the caller, who alone knows the truth.

AtomAI: ``Segmentor`` with its defaults (Unet, 16 filters, one class) by its own ``fit``, in
mini-batches with its own augmentation, on simulated frames with masks of the defects; then
``SegPredictor`` and ``Locator`` frame by frame. scikit-image: ``blob_log`` on four pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from atomai_timing import import_atomai
from fft_subtraction import residual
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.floating[Any]]
Points = list[list[float]]
#: By setting: points by frame, of the tuning frames first and the test frames after.
BySetting = dict[str, list[Points]]

#: Side of the crops that AtomAI is trained on, crops in a mini-batch.
CROP, BATCH = 128, 8
LOCATOR_THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
#: blob_log's widths, pixels: a column's image has a standard deviation of 1.2 px and is blurred.
BLOB_SIGMAS = {"min_sigma": 1.5, "max_sigma": 3.5, "num_sigma": 3}
#: Blobs a frame that the thresholds are set to give; there are about 40 defects.
BLOBS_PER_FRAME = (8, 14, 20, 26, 32, 38, 45, 55, 70, 100)
#: Width of the Gaussian taken off, pixels: about half of the distance of neighbouring columns.
BACKGROUND_SIGMA = 3.0


def scaled(frame: Floats) -> Floats:
    """Bring a frame to 0 to 1, as AtomAI's predictor does itself."""
    image = np.asarray(frame, np.float32)
    return (image - image.min()) / max(float(np.ptp(image)), 1e-6)


def crops(stack: Floats) -> Floats:
    """Cut every frame into CROP x CROP pieces, (m, 1, CROP, CROP)."""
    n, rows, columns = stack.shape
    kept = stack[:, : rows // CROP * CROP, : columns // CROP * CROP]
    grid = kept.reshape(n, rows // CROP, CROP, columns // CROP, CROP).swapaxes(2, 3)
    return np.ascontiguousarray(grid.reshape(-1, 1, CROP, CROP), np.float32)


def train(images: Floats, masks: Floats, cycles: int) -> tuple[Any, dict[str, Any]]:
    """Train AtomAI's default network; the network and what was done."""
    import atomai

    begin = time.perf_counter()
    pieces, labels = crops(np.stack([scaled(frame) for frame in images])), crops(masks)
    held = max(BATCH, len(pieces) // 10)
    model = atomai.models.Segmentor(seed=1)
    with tempfile.TemporaryDirectory() as folder:  # fit() saves its model, asked or not
        model.fit(
            pieces[held:],
            labels[held:],
            pieces[:held],
            labels[:held],
            training_cycles=cycles,
            batch_size=BATCH,
            plot_training_history=False,
            rotation=True,
            filename=str(Path(folder) / "model"),
        )
    facts = {
        "cycles": cycles,
        "batch": BATCH,
        "crop": CROP,
        "crops": len(pieces) - held,
        "training_s": round(time.perf_counter() - begin, 1),
        "tool": f"AtomAI {version('atomai')}",
        "blob_tool": f"scikit-image {version('scikit-image')}",
    }
    return model, facts


def atomai_points(model: Any, frames: Floats) -> BySetting:
    """Points by the threshold of ``Locator``."""
    from atomai.predictors import Locator, SegPredictor

    predictor = SegPredictor(model.net, verbose=False)
    found: BySetting = {f"{level:g}": [] for level in LOCATOR_THRESHOLDS}
    for frame in frames:
        heat = predictor.predict(np.asarray(frame, np.float32))
        for level in LOCATOR_THRESHOLDS:
            rows_columns = Locator(level).run(heat)[0][:, :2]
            found[f"{level:g}"].append(rows_columns[:, ::-1].round(3).tolist())
    return found


def pictures(frame: Floats) -> dict[str, Floats]:
    """Make the pictures on which bright blobs are looked for, by name."""
    image = np.asarray(frame, np.float64)
    image = (image - np.median(image)) / max(float(image.std()), 1e-6)
    smooth = ndimage.gaussian_filter(image, 1.0)
    off = np.abs(image - ndimage.gaussian_filter(image, BACKGROUND_SIGMA))
    left = residual(frame)
    return {
        "bright": smooth,
        "dark": -smooth,
        "less Gaussian": off,
        "FFT residual": np.abs(left - np.median(left)),
    }


def blobs(picture: Floats) -> tuple[Floats, Floats]:
    """Blobs (n, 2) of (x, y) and their strength (n,), the response that blob_log thresholds."""
    from skimage.feature import blob_log

    found = blob_log(picture, threshold=None, threshold_rel=0.1, **BLOB_SIGMAS)
    strength = np.zeros(len(found))
    for sigma in np.unique(found[:, 2]):
        at = found[:, 2] == sigma
        response = -(sigma**2) * ndimage.gaussian_laplace(picture, sigma)
        rows, columns = found[at, :2].astype(int).T
        strength[at] = response[rows, columns]
    return found[:, 1::-1], strength


def blob_points(tuning: Floats, test: Floats) -> BySetting:
    """Points by picture and threshold; thresholds are taken from the tuning frames' strengths."""
    found: BySetting = {}
    seen = [{name: blobs(one) for name, one in pictures(f).items()} for f in (*tuning, *test)]
    for name in seen[0]:
        strengths = np.sort(np.concatenate([one[name][1] for one in seen[: len(tuning)]]))[::-1]
        for number in BLOBS_PER_FRAME:
            if not len(strengths):
                continue
            level = strengths[min(number * len(tuning), len(strengths)) - 1]
            found[f"{name}, {number} a frame"] = [
                one[name][0][one[name][1] >= level].tolist() for one in seen
            ]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="holds frames.npz; found.json is written there")
    parser.add_argument("--cycles", type=int, default=200, help="mini-batches to train AtomAI")
    given = parser.parse_args()
    os.environ.setdefault("MPLBACKEND", "Agg")
    warnings.simplefilter("ignore")
    import_atomai()
    import torch

    torch.set_num_threads(1)
    frames = np.load(given.folder / "frames.npz")
    model, facts = train(frames["train_images"], frames["train_masks"], given.cycles)
    doses = [name.removeprefix("test_") for name in frames.files if name.startswith("test_")]
    found: dict[str, dict[str, BySetting]] = {"AtomAI": {}, "blob_log": {}}
    for dose in doses:
        tuning, test = frames[f"tune_{dose}"], frames[f"test_{dose}"]
        found["AtomAI"][dose] = atomai_points(model, np.concatenate([tuning, test]))
        found["blob_log"][dose] = blob_points(tuning, test)
        print(f"{dose} electrons a pixel done", file=sys.stderr, flush=True)
    (given.folder / "found.json").write_text(json.dumps({"facts": facts, "found": found}))


if __name__ == "__main__":
    main()
