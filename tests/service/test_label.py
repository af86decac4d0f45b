from __future__ import annotations

import numpy as np
import pytest
from matplotlib.image import imread

from latticewatch.cli import MISUSE, MisuseError, main
from latticewatch.cli.label import frame_range
from latticewatch_models.labelled import CLASSES, label_frame
from latticewatch_models.microscope import ImagingConfig, Microscope, SpecimenConfig


@pytest.fixture(scope="module")
def simulated():
    specimen = SpecimenConfig(metal_vacancy_fraction=0.01)
    imaging = ImagingConfig(dose_e_per_pixel=3200.0, rotation_deg=12.0)
    return list(Microscope("WS2", (192, 224), 11, specimen, imaging).frames(2))


@pytest.fixture(scope="module")
def movie(simulated, tmp_path_factory):
    path = tmp_path_factory.mktemp("movie") / "movie.npy"
    frames = [frame.image for frame in simulated]
    np.save(path, np.stack([*frames, np.zeros_like(frames[0])]))
    return path


def test_labels_and_pictures_are_written_and_a_frame_without_content_is_named(
    movie, simulated, tmp_path, capsys
):
    assert main(["label", str(movie), "--out", str(tmp_path / "out")]) == 0
    written = capsys.readouterr()
    assert "2 of 3 frames labelled" in written.out
    assert "frame 2 not labelled" in written.err
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    kinds = (("labels", "npz"), ("mask", "png"), ("steps", "png"))
    assert names == [f"{kind}-000{k}.{ending}" for kind, ending in kinds for k in (0, 1)]
    for k, frame in enumerate(simulated):
        with np.load(tmp_path / "out" / f"labels-000{k}.npz") as labels:
            assert labels["mask"].shape == frame.image.shape
            assert tuple(labels["classes"]) == CLASSES
            assert len(labels["points"]) == len(labels["significance"]) == len(labels["cells"])
            truth = frame.truth.points[np.isin(frame.truth.species, ["MoW", "VW"])]
            gaps = np.hypot(*(labels["points"][:, None] - truth[None]).T).min(1)
            assert (gaps < 1.0).mean() > 0.9
            dark = labels["points"][labels["significance"] < 0]
            column, row = np.rint(dark).astype(int).T
            assert (labels["mask"][row, column] == CLASSES.index("dark defect")).mean() > 0.9
    assert imread(tmp_path / "out" / "mask-0000.png").shape[:2] == simulated[0].image.shape


def test_frames_are_chosen_and_none_labelled_is_a_failure(movie, tmp_path, capsys):
    assert main(["label", str(movie), "--out", str(tmp_path), "--frames", "2:3"]) == 1
    assert "0 of 1" in capsys.readouterr().out
    assert main(["label", str(movie), "--out", str(tmp_path), "--frames", "1:5"]) == MISUSE
    assert main(["label", str(movie), "--out", str(tmp_path), "--threshold", "1"]) == MISUSE


@pytest.mark.parametrize(
    ("text", "frames"),
    [(None, [0, 1, 2, 3]), ("1:3", [1, 2]), (":2", [0, 1]), ("2:", [2, 3]), ("3", [3])],
)
def test_frames_of_a_movie_are_chosen_by_their_numbers(text, frames):
    assert list(frame_range(text, 4)) == frames


@pytest.mark.parametrize("text", ["a:b", "3:2", "0:9", "-1:2", "1:1", "4"])
def test_frames_that_are_not_there_are_refused(text):
    with pytest.raises(MisuseError, match="--frames"):
        frame_range(text, 4)


def test_a_higher_threshold_labels_less(simulated):
    few, many = (label_frame(simulated[0].image, sigmas) for sigmas in (6.0, 3.5))
    assert len(few.points.points) < len(many.points.points)
    assert few.summary().split()[0].isdigit()
