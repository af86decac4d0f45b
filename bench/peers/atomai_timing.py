"""Run inside AtomAI's own environment by run_atomai.py: what AtomAI costs on the given frames.

The network is AtomAI's default (``Segmentor()``: Unet, 16 filters, one class) with its default
inference settings. Its weights are of no interest here, but the number of blobs that ``Locator``
finds is, since its time grows with it. So the network is trained for some seconds with AtomAI's
own ``fit`` on the first frames, the labels being where a frame departs most from its periodic part
(the original authors' idea); then the threshold that gives a realistic number of blobs is chosen.
**No accuracy may be read from these numbers.** The result says how many peaks were found.
"""

from __future__ import annotations

import argparse
import contextlib
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
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.floating[Any]]

#: Defects in a frame of the original movie of Mo-doped WS2: 146 in 512 x 512 pixels of 0.03 nm.
DEFECTS_PER_PIXEL = 146 / 512**2
#: Half a W-W distance at 0.03 nm a pixel is 5.3 px: a mark of this radius covers one column.
MARK_RADIUS = 4
#: Enough for blobs of the right size and number, a few seconds on two cores; not for accuracy.
TRAINING_CYCLES, TRAINING_FRAMES, BATCH, CROP = 120, 4, 8, 64
THRESHOLDS = np.linspace(0.02, 0.98, 49)
WARM_UP = 2


def defect_marks(frame: Floats, number: int) -> Floats:
    """Mark the places that depart most from the periodic part of the frame, shape of the frame."""
    spectrum = np.fft.fft2(frame - frame.mean())
    amplitude = np.abs(spectrum)
    rows, columns = (np.fft.fftfreq(n) for n in frame.shape)
    radius = np.hypot(rows[:, None], columns[None, :])
    # Below 0.02 a pixel there is background, not lattice; 20 times the median is a Bragg peak.
    bragg = ndimage.maximum_filter((amplitude > 20 * np.median(amplitude)) & (radius > 0.02), 3)
    residual = np.fft.ifft2(np.where(bragg | (radius <= 0.02), 0, spectrum)).real
    strength = np.abs(ndimage.gaussian_filter(residual, 2.0))
    peaks = strength == ndimage.maximum_filter(strength, 2 * MARK_RADIUS + 1)
    level = np.partition(strength[peaks], -min(number, int(peaks.sum())))[-number:].min()
    distance = ndimage.distance_transform_edt(~(peaks & (strength >= level)))
    return (distance <= MARK_RADIUS).astype(np.float32)


def crops(stack: Floats) -> Floats:
    """Cut every image of a stack into CROP x CROP pieces, shape (m, 1, CROP, CROP)."""
    size = min(CROP, *(n // 8 * 8 for n in stack.shape[1:]))
    return np.stack(
        [
            image[None, row : row + size, column : column + size]
            for image in stack
            for row in range(0, image.shape[0] - size + 1, size)
            for column in range(0, image.shape[1] - size + 1, size)
        ]
    ).astype(np.float32)


def train(frames: Floats, number: int) -> Any:
    """Train AtomAI's default network on the first frames and return the ``Segmentor``."""
    import atomai

    first = frames[:TRAINING_FRAMES]
    first = np.concatenate([first] * (-(-TRAINING_FRAMES // len(first))))
    scaled = np.stack([(frame - frame.min()) / np.ptp(frame) for frame in first])
    images, labels = crops(scaled), crops(np.stack([defect_marks(f, number) for f in first]))
    model = atomai.models.Segmentor(seed=1)
    with tempfile.TemporaryDirectory() as folder:  # fit() saves its model, asked or not
        model.fit(
            images,
            labels,
            images[:BATCH],
            labels[:BATCH],
            training_cycles=TRAINING_CYCLES,
            batch_size=BATCH,
            plot_training_history=False,
            filename=str(Path(folder) / "model"),
        )
    return model


def spread(durations_s: list[float]) -> dict[str, float]:
    """Summarise durations in seconds as median and p99 in milliseconds."""
    median, p99 = np.percentile(np.array(durations_s) * 1000, [50, 99])
    return {"median": round(float(median), 2), "p99": round(float(p99), 2)}


def choose_threshold(heat: Floats, peaks: float) -> float:
    """Choose the threshold whose median number of blobs a frame is nearest to the wanted one."""
    from atomai.predictors import Locator

    def miss(threshold: float) -> float:
        found = Locator(threshold).run(heat)
        return abs(float(np.median([len(points) for points in found.values()])) - peaks)

    return min((round(float(level), 2) for level in THRESHOLDS), key=miss)


def measure(frames: Floats, peaks: float, threads: int, gpu: bool) -> dict[str, object]:
    """Train, then time frame by frame and as one stack.

    Parameters
    ----------
    frames
        Shape (n, rows, columns), float32.
    peaks
        Blobs a frame that the threshold is chosen to come near to.
    threads
        Threads of torch while it is timed.
    gpu
        Whether the network is timed on torch's first GPU; AtomAI leaves it on the CPU unless told.

    Returns
    -------
    dict
        Milliseconds a frame and how they came about, ready for JSON.
    """
    import torch
    from atomai.predictors import Locator, SegPredictor

    begin = time.perf_counter()
    # Beside other work, two threads that wait for each other train slower than one alone.
    torch.set_num_threads(1)
    model = train(frames, round(peaks))
    torch.set_num_threads(threads)
    training_s = time.perf_counter() - begin
    predictor = SegPredictor(model.net, use_gpu=gpu, verbose=False)
    locator = Locator(choose_threshold(predictor.predict(frames[:TRAINING_FRAMES]), peaks))
    for frame in frames[:WARM_UP]:
        locator.run(predictor.predict(frame))

    predict_s, locate_s, counts = [], [], []
    for frame in frames:
        start = time.perf_counter()
        heat = predictor.predict(frame)
        middle = time.perf_counter()
        counts.append(len(locator.run(heat)[0]))
        predict_s.append(middle - start)
        locate_s.append(time.perf_counter() - middle)

    start = time.perf_counter()
    heat = predictor.predict(frames)
    middle = time.perf_counter()
    locator.run(heat)
    end = time.perf_counter()
    return {
        "predict_ms": spread(predict_s),
        "locate_ms": spread(locate_s),
        "total_ms": spread([a + b for a, b in zip(predict_s, locate_s, strict=True)]),
        "stack_ms_per_frame": {
            "predict": round((middle - start) * 1000 / len(frames), 2),
            "locate": round((end - middle) * 1000 / len(frames), 2),
        },
        "peaks_per_frame": float(np.median(counts)),
        "peaks_aimed_at": round(peaks, 1),
        "threshold": locator.threshold,
        "training_s": round(training_s, 1),
    }


def import_atomai() -> bool:
    """Import AtomAI, with the stand-in for torchvision where needed; tell whether it was."""
    try:
        import torchvision  # noqa: F401
    # A missing torchvision raises ImportError, one that does not match torch RuntimeError.
    except (ImportError, RuntimeError):
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        sys.path.insert(0, str(Path(__file__).resolve().parent / "stubs"))
        stand_in = True
    else:
        stand_in = False
    import atomai  # noqa: F401

    return stand_in


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("frames", type=Path, help=".npy of shape (n, rows, columns)")
    parser.add_argument("--limit", type=int, default=40, help="frames to time")
    parser.add_argument("--peaks", type=float, help="default: as dense as in the original movie")
    parser.add_argument("--threads", type=int, help="torch threads; default: torch's own choice")
    parser.add_argument("--gpu", action="store_true", help="run the network on torch's first GPU")
    given = parser.parse_args()
    os.environ.setdefault("MPLBACKEND", "Agg")
    warnings.simplefilter("ignore")
    stack = np.load(given.frames, mmap_mode="r", allow_pickle=False)
    if stack.ndim != 3 or min(stack.shape) < 1 or min(stack.shape[1:]) < 64:
        sys.exit(f"{given.frames} has shape {stack.shape}: give (n, rows, columns) of 64 and more")
    frames = np.ascontiguousarray(stack[: given.limit], dtype=np.float32)
    peaks = given.peaks or DEFECTS_PER_PIXEL * frames[0].size
    # AtomAI prints as it goes: standard output is for the one line of the result.
    with contextlib.redirect_stdout(sys.stderr):
        stand_in = import_atomai()
        import torch

        if given.gpu and not torch.cuda.is_available():
            sys.exit(f"torch {torch.__version__} sees no GPU: install a CUDA build of it")
        result = measure(frames, peaks, given.threads or torch.get_num_threads(), given.gpu)
        facts = {
            "device": torch.cuda.get_device_name(0) if given.gpu else "cpu",
            "tool": f"AtomAI {version('atomai')}",
            "network": "Segmentor() default: Unet, 16 filters, one class",
            "weights": f"{TRAINING_CYCLES} cycles on {TRAINING_FRAMES} frames: for timing only",
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "torchvision": "stand-in" if stand_in else "real",
            "frames": len(frames),
            "shape": list(frames.shape[1:]),
        }
    print(json.dumps(facts | result))


if __name__ == "__main__":
    main()
