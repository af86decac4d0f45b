"""The runtime on models built by hand from ONNX operators: no torch, no training."""

import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest

from latticewatch_kernels.conditioning import condition
from latticewatch_models.devices import Device
from latticewatch_models.microscope import Microscope
from latticewatch_models.processor import why_no_brain_floats
from latticewatch_models.providers import PROVIDERS
from latticewatch_models.runtime import ModelError, ProviderError, Segmenter
from latticewatch_models.tuning import Tuning

OPENVINO = PROVIDERS["openvino"] in onnxruntime.get_available_providers()

onnx = pytest.importorskip("onnx")

METADATA = {
    "latticewatch.format": "segmenter-1",
    "trained": "yes",
    "version": "0",
    "stride": "4",
    "lattice_constant_px": "10.5",
    "scale_range": "0.85,1.2",
    "crystals": "WS2",
    "seed": "1",
    "iterations": "2",
}


def write_model(path, metadata=METADATA, columns=False):
    """Heat: the mean of the cell's 4 x 4 pixels. Offsets: the same and its negative.

    Columns: the heat's negative, and offsets likewise.
    """
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    kernel = numpy_helper.from_array(np.full((1, 1, 4, 4), 1 / 16, np.float32), "kernel")
    nodes = [
        helper.make_node("Conv", ["frame", "kernel"], ["heat"], strides=[4, 4]),
        helper.make_node("Neg", ["heat"], ["negative"]),
        helper.make_node("Concat", ["heat", "negative"], ["offset"], axis=1),
    ]
    kind = onnx.TensorProto.FLOAT

    def value(name, channels):
        return helper.make_tensor_value_info(name, kind, [1, channels, None, None])

    outputs = [value("heat", 1), value("offset", 2)]
    if columns:
        nodes += [
            helper.make_node("Neg", ["heat"], ["column_heat"]),
            helper.make_node("Neg", ["offset"], ["column_offset"]),
        ]
        outputs += [value("column_heat", 1), value("column_offset", 2)]
        metadata = {**metadata, "columns": "yes"}
    graph = helper.make_graph(nodes, "hand", [value("frame", 1)], outputs, [kernel])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10, producer_name="test"
    )
    helper.set_model_props(model, metadata)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "hand.onnx")


@pytest.mark.parametrize("shape", [(16, 16), (17, 31), (101, 203), (64, 50)])
def test_any_size_gives_a_cell_to_every_started_four_pixels(model, shape):
    image = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    seen = Segmenter(model, providers="cpu", threads=1).segment(image)
    rows, columns = -(-shape[0] // 4), -(-shape[1] // 4)
    assert seen.heat.shape == (rows, columns)
    assert seen.offset.shape == (2, rows, columns)
    assert seen.heat.dtype == seen.offset.dtype == np.float32
    whole = image[: shape[0] // 4 * 4, : shape[1] // 4 * 4]
    means = whole.reshape(shape[0] // 4, 4, shape[1] // 4, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(seen.heat[: means.shape[0], : means.shape[1]], means, atol=1e-6)
    np.testing.assert_array_equal(seen.offset[1], -seen.heat)


def test_the_border_is_filled_up_with_its_last_pixels(model):
    image = np.arange(18 * 16, dtype=np.float32).reshape(18, 16)
    seen = Segmenter(model, providers="cpu").segment(image)
    filled = image[[16, 17, 17, 17]]
    np.testing.assert_allclose(seen.heat[4], filled.reshape(4, 4, 4).mean(axis=(0, 2)), rtol=1e-6)


def test_what_the_file_says_is_what_the_segmenter_says(model):
    segmenter = Segmenter(model)
    assert (segmenter.stride, segmenter.lattice_constant_px) == (4, 10.5)
    assert segmenter.card.scale_range == (0.85, 1.2)
    assert segmenter.card.site_weight == 0.0
    assert segmenter.providers[-1] == "cpu"


def test_columns_are_told_where_they_are_asked_for_and_known(model, tmp_path):
    image = np.random.default_rng(3).normal(size=(33, 46)).astype(np.float32)
    old = Segmenter(model, providers="cpu")
    assert not old.card.columns
    assert old.segment(image, columns=True).column_heat is None
    new = Segmenter(write_model(tmp_path / "new.onnx", columns=True), providers="cpu")
    assert new.card.columns
    assert new.segment(image).column_heat is None
    seen = new.segment(image, columns=True)
    np.testing.assert_array_equal(seen.column_heat, -seen.heat)
    np.testing.assert_array_equal(seen.column_offset, -seen.offset)
    np.testing.assert_array_equal(seen.heat, old.segment(image).heat)


def test_one_segmenter_serves_many_threads(model):
    segmenter = Segmenter(model, providers="cpu", threads=1)
    images = [np.full((32, 48), k, np.float32) for k in range(24)]
    with ThreadPoolExecutor(4) as pool:
        for k, seen in enumerate(pool.map(segmenter.segment, images)):
            np.testing.assert_allclose(seen.heat, k, rtol=1e-6)


def test_a_frame_smaller_than_a_coarse_cell_is_refused(model):
    with pytest.raises(ValueError, match="12 x 40 is smaller than 16 px"):
        Segmenter(model).segment(np.zeros((12, 40), np.float32))


def test_missing_damaged_and_foreign_files_are_told_apart(tmp_path):
    with pytest.raises(ModelError, match="no such model"):
        Segmenter(tmp_path / "none.onnx")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"not an ONNX file at all")
    with pytest.raises(ModelError, match="not a readable ONNX model"):
        Segmenter(damaged)
    with pytest.raises(ModelError, match="not a segmenter of this version"):
        Segmenter(write_model(tmp_path / "foreign.onnx", {"author": "someone"}))
    spoilt = {**METADATA, "stride": "four"}
    with pytest.raises(ModelError, match="description is damaged"):
        Segmenter(write_model(tmp_path / "spoilt.onnx", spoilt))


def test_every_error_is_one_line(tmp_path):
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"\x08\x00garbage\nmore")
    for path in (tmp_path / "none.onnx", damaged):
        with pytest.raises(ModelError) as caught:
            Segmenter(path)
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(not OPENVINO, reason="the openvino extra is not installed")
@pytest.mark.skipif(why_no_brain_floats() != "", reason=why_no_brain_floats() or "-")
def test_brain_floats_see_nearly_the_same():
    image = condition(Microscope("WS2", (256, 192), 3).acquire().image)
    brainy = Segmenter(providers="openvino", threads=1, tuning=Tuning("bf16"))
    assert (brainy.precision, brainy.ran_on.precision) == ("bf16", "bfloat16")
    seen, expected = brainy.segment(image), Segmenter(providers="cpu").segment(image)
    assert 0.0 < np.abs(seen.heat - expected.heat).max() < 0.05
    assert len(seen.detections()[0]) == len(expected.detections()[0]) > 0


@pytest.mark.skipif(OPENVINO, reason="the openvino extra is installed")
def test_a_provider_that_is_not_there_is_an_error_not_a_fallback(model):
    with pytest.raises(ProviderError, match="'openvino' is not in the installed onnxruntime"):
        Segmenter(model, providers="openvino")
    with pytest.raises(ProviderError, match="'gpu' is not known: use auto or one of tensorrt"):
        Segmenter(model, providers="gpu")
    with pytest.raises(ProviderError, match="no provider was named"):
        Segmenter(model, providers=[])
    with pytest.raises(ProviderError, match="cuda:7 cannot be used"):
        Segmenter(model, device="cuda:7")


@pytest.mark.skipif(OPENVINO, reason="the openvino extra is installed")
def test_what_is_passed_over_is_logged(model, caplog):
    with caplog.at_level(logging.INFO, "latticewatch_models.runtime"):
        segmenter = Segmenter(model, device="auto")
    assert {passed.name for passed in segmenter.passed_over} >= {"openvino"}
    assert "openvino: is not in the installed onnxruntime" in caplog.text


def test_a_file_from_before_there_were_batches_runs_frames_one_by_one(tmp_path):
    path = write_model(tmp_path / "model.onnx", columns=True)
    segmenter = Segmenter(path, providers="cpu")
    images = np.random.default_rng(5).normal(size=(3, 41, 38)).astype(np.float32)
    together = segmenter.segment_all(list(images), columns=True)
    for image, seen in zip(images, together, strict=True):
        alone = segmenter.segment(image, columns=True)
        for name in ("heat", "offset", "column_heat", "column_offset"):
            np.testing.assert_array_equal(getattr(seen, name), getattr(alone, name))
        assert seen.shape == alone.shape == (41, 38)


def test_a_frame_during_which_the_provider_fell_is_run_again(tmp_path):
    """Which of the two brought the result could not be told."""

    class Falling(Segmenter):
        runs = 0

        @property
        def providers(self):
            return ("cpu",) if self.runs > 0 else ("cuda", "cpu")

    segmenter = Falling(write_model(tmp_path / "m.onnx"), threads=1)
    session_run = segmenter._session.run

    def run(*given):
        segmenter.runs += 1
        return session_run(*given)

    segmenter._session.run = run
    image = np.ones((16, 16), np.float32)
    seen = [segmenter.segment(image).ran_on for _ in range(2)]
    assert segmenter.runs == 3
    assert {(on.provider, on.device) for on in seen} == {("cpu", "host")}
    segmenter.runs = -10
    segmenter.device = Device("cuda", 3)
    assert segmenter.segment(image).ran_on.device == "cuda:3"
