import pytest

torch = pytest.importorskip("torch")

from dataclasses import dataclass, replace  # noqa: E402

import numpy as np  # noqa: E402

from latticewatch_models.network import NetworkSettings  # noqa: E402
from latticewatch_models.runtime import Segmenter  # noqa: E402
from latticewatch_models.scenes import draw_scene  # noqa: E402
from latticewatch_models.training import (  # noqa: E402
    COLUMN_WEIGHT,
    TrainSettings,
    main,
    segmentation_loss,
    train,
)

TINY = TrainSettings(
    seed=3,
    iterations=40,
    scenes_per_step=1,
    crops_per_scene=4,
    crop_px=64,
    learning_rate=1e-2,
    calibration_scenes=2,
    workers=0,
    network=NetworkSettings(16, 16),
)


@pytest.fixture(scope="module")
def trained():
    steps = []
    return train(TINY, steps.append), steps


def test_the_loss_falls(trained):
    losses = trained[0].losses
    assert losses[-10:].mean() < 0.85 * losses[:10].mean()


def test_progress_counts_every_step_and_ends_with_the_calibration(trained):
    steps = trained[1]
    assert [p.step for p in steps] == [*range(1, 41), 40]
    assert {p.steps for p in steps} == {40}
    assert [p.phase for p in steps] == ["train"] * 40 + ["calibrate"]


def test_a_seed_gives_the_same_network_again(trained):
    again = train(TINY)
    for one, other in zip(trained[0].network.parameters(), again.network.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_scenes_without_columns_are_refused_where_columns_are_to_be_marked():
    def draw(rng, shape):
        return replace(draw_scene(rng, shape), columns=None)

    with pytest.raises(ValueError, match=r"columns=False"):
        train(replace(TINY, iterations=1), draw=draw)
    settings = replace(TINY, iterations=1, network=NetworkSettings(16, 16, columns=False))
    assert np.isfinite(train(settings, draw=draw).losses).all()


def test_statistics_of_the_normalisation_are_a_mean_over_the_last_batches(trained):
    counts = [m.num_batches_tracked for m in trained[0].network.modules() if hasattr(m, "momentum")]
    assert {int(c) for c in counts} == {4}


def test_a_trained_model_is_a_file_the_runtime_takes(trained, tmp_path):
    path = tmp_path / "model.onnx"
    card = trained[0].export(path)
    segmenter = Segmenter(path, providers="cpu", threads=1)
    assert segmenter.card == card
    assert (card.seed, card.iterations, card.trained) == (3, 40, True)
    heat = segmenter.segment(np.random.default_rng(0).normal(size=(48, 48))).heat
    assert ((heat > 0) & (heat < 1)).all()


def test_the_loss_of_the_truth_is_nought_and_silent_cells_cost_nothing():
    heat = torch.zeros(1, 1, 4, 4)
    heat[..., 1, 2] = 1.0
    weight = torch.ones_like(heat)
    weight[..., 3, 3] = 0.0
    offset, near = torch.full((1, 2, 4, 4), 1.5), heat.clone()
    batch = [torch.zeros(1, 1, 16, 16), heat, weight, offset, near]
    logits = torch.where(heat > 0, 30.0, -30.0)
    logits[..., 3, 3] = 30.0
    assert segmentation_loss(logits, offset, batch).item() == pytest.approx(0.0, abs=1e-6)
    # one cell off by four pixels in x: half of 1, as the offsets weigh half
    moved = offset + torch.tensor([4.0, 0.0])[None, :, None, None]
    assert segmentation_loss(logits, moved, batch).item() == pytest.approx(0.5, abs=1e-6)
    # the same of columns costs as much less as they weigh
    batch = [batch[0], *(torch.cat([t, t], dim=1) for t in batch[1:])]
    two, apart = torch.cat([logits, logits], dim=1), torch.cat([offset, moved], dim=1)
    loss = segmentation_loss(two, apart, batch).item()
    assert loss == pytest.approx(0.5 * COLUMN_WEIGHT, abs=1e-6)


@pytest.mark.parametrize(("field", "value"), [("iterations", 0), ("crop_px", 100)])
def test_impossible_settings_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        TrainSettings(**{field: value})


@dataclass(frozen=True)
class SoonCalibrated(TrainSettings):
    calibration_scenes: int = 2


def test_the_command_writes_a_model(tmp_path, monkeypatch):
    monkeypatch.setattr("latticewatch_models.training.TrainSettings", SoonCalibrated)
    path = tmp_path / "command.onnx"
    arguments = ["--iterations", "1", "--workers", "0", "--width", "16", "--deep-width", "16"]
    main(["--out", str(path), "--seed", "9", *arguments])
    card = Segmenter(path, providers="cpu").card
    assert (card.seed, card.stride, card.columns) == (9, 2, True)
    main(["--out", str(path), *arguments, "--design", "quarter", "--leave-out", "VW", "VMo"])
    assert Segmenter(path, providers="cpu").card.stride == 4


def test_what_is_left_out_is_in_no_batch(monkeypatch):
    seen = []

    def draw(rng, shape, leave_out=(), *, usual=False):
        seen.append((leave_out, usual))
        return draw_scene(rng, shape, leave_out, usual=usual)

    for module in ("batches", "training"):
        monkeypatch.setattr(f"latticewatch_models.{module}.draw_scene", draw)
    train(replace(TINY, iterations=2, leave_out=("VW",)))
    assert seen == [(("VW",), False)] * 2 + [(("VW",), True)] * 2
