from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="training needs torch")

import numpy as np

from latticewatch.cli import MISUSE, main
from latticewatch.training_card import TrainingReport
from latticewatch_models.microscope import ImagingConfig, Microscope, SpecimenConfig
from latticewatch_models.runtime import Segmenter
from latticewatch_models.scoring import Score


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    specimen = SpecimenConfig(metal_vacancy_fraction=0.01)
    imaging = ImagingConfig(dose_e_per_pixel=3200.0)
    path = tmp_path_factory.mktemp("movie") / "movie.npy"
    frames = [f.image for f in Microscope("WS2", (200, 200), 3, specimen, imaging).frames(2)]
    np.save(path, np.stack(frames))
    return path


def test_a_movie_trains_a_model_with_its_card_and_the_plot_of_its_loss(
    movie, tmp_path, monkeypatch, capsys
):
    small = {"iterations": 9, "scenes_per_step": 1, "crops_per_scene": 1, "crop_px": 64}
    small |= {"calibration_scenes": 2, "workers": 0}
    monkeypatch.setattr("latticewatch.cli.train.SELF_TRAINING", small)
    out = tmp_path / "own.onnx"
    given = ["train", str(movie), "--frames", "0:2", "--out", str(out), "--seed", "4"]
    assert main([*given, "--iterations", "3"]) == 0
    card = Segmenter(out, providers="cpu", threads=1).card
    assert (card.seed, card.iterations, card.crystals, card.trained) == (4, 3, (), True)
    assert card.notes["labels"] == "Bragg peaks of movie.npy, frames 0:2"
    text = out.with_suffix(".md").read_text(encoding="utf-8")
    assert "3 steps, seed 4" in text
    assert "the last quarter of the frames" in text
    assert str(tmp_path) not in text
    assert out.with_suffix(".png").stat().st_size > 1000
    assert "in the last quarter of the frames: of" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--frames", "0:1"], "give a movie"),
        (["movie.npy", "--simulated"], "one of the two"),
    ],
)
def test_command_lines_that_make_no_sense_are_refused(arguments, words, tmp_path, capsys):
    assert main(["train", *arguments, "--out", str(tmp_path / "x.onnx")]) == MISUSE
    assert words in capsys.readouterr().err


def test_a_report_counts_what_was_kept():
    score = Score()
    points = np.array([[5.0, 5.0], [50.0, 50.0], [90.0, 90.0]])
    score.add(points[:2] + 0.5, points[[0, 2]], np.array(["dark", "bright"]), 3.0)
    report = TrainingReport("movie.npy, frames 0:1", 95, False, 100, 1, score, 61.4)
    assert "of 2 labelled defects 1 found, 1 marks that no label agrees with" in report.summary()
    text = report.markdown("own.onnx")
    assert "| bright | 0 | 1 |\n| dark | 1 | 0 |" in text
    assert "the last quarter of the frame's rows" in text
    empty = TrainingReport("movie.npy, frames 0:1", 95, True, 100, 1, Score(), 61.4)
    assert "nothing to hold the model against" in empty.summary()
