"""Draw README's picture: the last of twelve simulated frames with what was found in it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from latticewatch.cli import main
from latticewatch_models.microscope import Microscope

HERE = Path(__file__).parent
FRAMES = 12

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        movie, out = Path(folder) / "simulated WS2.npy", Path(folder) / "out"
        microscope = Microscope("WS2", (320, 320), seed=4)
        np.save(movie, np.stack([frame.image for frame in microscope.frames(FRAMES)]))
        calibration = ["--pixel-size", "0.03", "--frame-time", "2.25"]
        main(["analyze", str(movie), "--out", str(out), "--picture", *calibration])
        with Image.open(out / f"overlay-{FRAMES - 1:04d}.png") as picture:
            few = picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=96)
            few.save(HERE / "overlay.png", optimize=True)
