"""Draw docs/labelling.md's picture: the five steps on a simulated frame with holes in it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from latticewatch.cli import main
from latticewatch_models.microscope import ImagingConfig, Microscope, SpecimenConfig

HERE = Path(__file__).parent

#: Longest side of the picture, pixels.
SIDE = 1000

if __name__ == "__main__":
    specimen = SpecimenConfig(
        metal_vacancy_fraction=0.01, hole_fraction=0.05, hole_radius_cells=4.0
    )
    imaging = ImagingConfig(dose_e_per_pixel=1600.0, rotation_deg=9.0, contamination=0.1)
    frame = Microscope("WS2", (320, 320), 7, specimen, imaging).acquire().image
    with tempfile.TemporaryDirectory() as folder:
        movie, out = Path(folder) / "simulated WS2.npy", Path(folder) / "out"
        np.save(movie, frame)
        main(["label", str(movie), "--out", str(out)])
        with Image.open(out / "steps-0000.png") as picture:
            picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
            few = picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=96)
            few.save(HERE / "labels.png", optimize=True)
