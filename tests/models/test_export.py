import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

import numpy as np  # noqa: E402

from latticewatch_models import export  # noqa: E402
from latticewatch_models.calibration import log_noise  # noqa: E402
from latticewatch_models.network import DefectNetwork, NetworkSettings  # noqa: E402
from latticewatch_models.runtime import Segmenter  # noqa: E402

CALIBRATIONS = export.Calibration(0.7, 0.3), export.Calibration(1.4, -0.2, 0.1, 0.3, -2.0, 1.0)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(3)
    network = DefectNetwork(NetworkSettings(16, 16))
    for _ in range(3):  # running means and variances that are not those of a fresh network
        network(torch.randn(4, 1, 64, 64) * 2 + 1)
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    facts = export.ModelFacts(
        trained=True, crystals=("WS2", "MoS2"), seed=7, iterations=11, notes={"why": "a test"}
    )
    card = export.export_onnx(network.eval(), path, facts, *CALIBRATIONS)
    return network, path, card


def test_the_file_computes_what_torch_computes_with_its_calibration(exported):
    network, path, _ = exported
    image = np.random.default_rng(1).normal(size=(116, 72)).astype(np.float32)
    with torch.inference_mode():
        logits, offsets = network(torch.from_numpy(image)[None, None])
    seen = Segmenter(path, providers="cpu", threads=1).segment(image, columns=True)
    wanted = 1 / (1 + np.exp(-(0.7 * logits.numpy()[0, 0] + 0.3)))
    np.testing.assert_allclose(seen.heat, wanted, atol=1e-4)
    np.testing.assert_allclose(seen.offset, offsets.numpy()[0, :2], atol=1e-3)
    t = log_noise(torch.from_numpy(image)[None, None]).item()
    assert t == pytest.approx(0.0, abs=0.1)
    logit = (1.4 + 0.1 * t) * logits.numpy()[0, 1] - 0.2 + 0.3 * t
    wanted = 1 / (1 + np.exp(-logit))
    np.testing.assert_allclose(seen.column_heat, wanted, atol=1e-4)
    np.testing.assert_allclose(seen.column_offset, offsets.numpy()[0, 2:], atol=1e-3)


@pytest.mark.parametrize("design", ["half", "unet"])
def test_every_stride_has_its_file(tmp_path, design):
    torch.manual_seed(4)
    network = DefectNetwork(NetworkSettings(16, 16, design, columns=False)).eval()
    path = tmp_path / "model.onnx"
    card = export.export_onnx(network, path, export.ModelFacts(trained=True))
    assert (card.stride, card.columns) == (network.stride, False)
    image = np.random.default_rng(1).normal(size=(57, 44)).astype(np.float32)
    seen = Segmenter(path, providers="cpu", threads=1).segment(image, columns=True)
    assert seen.heat.shape == (-(-57 // card.stride), 44 // card.stride)
    assert seen.column_heat is None


def test_the_card_survives_the_file(exported):
    _, path, card = exported
    assert Segmenter(path, providers="cpu").card == card
    assert card.crystals == ("WS2", "MoS2")
    assert (card.seed, card.iterations, card.trained) == (7, 11, True)
    assert card.notes == {"why": "a test"}
    assert card.columns
    assert card.lattice_constant_px == 10.5


def test_the_file_tells_nothing_of_the_machine_that_wrote_it(exported):
    content = exported[1].read_bytes()
    for trace in (b"/home", b"site-packages", b".py", b"stack_trace"):
        assert trace not in content


def test_an_export_is_reproducible(exported, tmp_path):
    network, path, _ = exported
    again = tmp_path / "again.onnx"
    facts = export.ModelFacts(
        trained=True, crystals=("WS2", "MoS2"), seed=7, iterations=11, notes={"why": "a test"}
    )
    export.export_onnx(network, again, facts, *CALIBRATIONS)
    assert again.read_bytes() == path.read_bytes()


def test_an_export_that_differs_from_torch_is_refused(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "compare", lambda *_: 0.01)
    with pytest.raises(export.ExportError, match=r"differs from torch by 0\.01"):
        export.export_onnx(exported[0], tmp_path / "x.onnx", export.ModelFacts(trained=True))
    assert not (tmp_path / "x.onnx").exists()
