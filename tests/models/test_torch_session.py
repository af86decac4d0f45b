"""The torch backend against ONNX Runtime, on the shipped model and on hand-made ones."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from latticewatch_models.devices import Device  # noqa: E402
from latticewatch_models.runtime import (  # noqa: E402
    ZOO_MODEL,
    BatchError,
    ModelError,
    ProviderError,
    Segmenter,
)
from latticewatch_models.torch_session import TorchSession  # noqa: E402
from latticewatch_models.tuning import Tuning  # noqa: E402

NAMES = ("heat", "offset", "column_heat", "column_offset")


@pytest.fixture(scope="module")
def both():
    return Segmenter(providers="cpu", threads=1), Segmenter(backend="torch", device="cpu")


@settings(max_examples=12, deadline=None)
@given(st.integers(16, 150), st.integers(16, 150), st.integers(0, 2**32 - 1))
def test_the_same_weights_give_the_same_maps(both, rows, columns, seed):
    image = np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)
    ours, theirs = (segmenter.segment(image, columns=True) for segmenter in both)
    for name in NAMES:
        np.testing.assert_allclose(
            getattr(theirs, name), getattr(ours, name), atol=2e-5, err_msg=f"{name}, seed {seed}"
        )


def test_frames_at_once_are_the_frames_one_by_one(both):
    images = list(np.random.default_rng(4).normal(size=(3, 50, 37)).astype(np.float32))
    together, alone = (segmenter.segment_all(images, columns=True) for segmenter in reversed(both))
    for ours, theirs in zip(together, alone, strict=True):
        for name in NAMES:
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=2e-5)


def test_half_precision_sees_what_onnx_runtime_sees_in_it(both):
    image = np.random.default_rng(6).normal(size=(64, 80)).astype(np.float32)
    ours = Segmenter(backend="torch", device="cpu", tuning=Tuning("fp16"))
    theirs = Segmenter(providers="cpu", threads=1, tuning=Tuning("fp16"))
    assert (ours.precision, theirs.precision, both[1].precision) == ("fp16", "fp16", "fp32")
    seen, expected, full = (s.segment(image) for s in (ours, theirs, both[1]))
    assert seen.heat.dtype == expected.heat.dtype == np.float32
    assert np.abs(full.heat - expected.heat).max() > 0.0
    # noise without a crystal, where probabilities are anything between 0 and 1
    np.testing.assert_allclose(seen.heat, expected.heat, atol=0.02)
    np.testing.assert_allclose(seen.heat, full.heat, atol=0.02)


def test_it_says_what_runs_it(both):
    assert both[1].providers == ("torch-cpu",)
    assert both[1].card == both[0].card


def test_a_device_that_torch_does_not_have_is_an_error():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ProviderError, match="cuda:0 cannot be used by torch"):
        Segmenter(backend="torch", device="cuda:0")


def test_a_file_that_is_none_of_ours(tmp_path):
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"not an ONNX file at all")
    with pytest.raises(ModelError, match="not a readable ONNX model"):
        Segmenter(damaged, backend="torch")
    helper = onnx.helper
    value = helper.make_tensor_value_info("frame", onnx.TensorProto.FLOAT, [1])
    result = helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Erf", ["frame"], ["out"])], "g", [value], [result])
    foreign = tmp_path / "foreign.onnx"
    foreign.write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(ModelError, match=r"operators \['Erf'\] are not known"):
        Segmenter(foreign, backend="torch")


@pytest.mark.expects_errors
def test_a_gpu_that_fails_gives_way_to_the_cpu(monkeypatch):
    """The device is made up; what fails is torch's own error, as on a GPU without memory."""
    told = []
    session = TorchSession(ZOO_MODEL.read_bytes(), Device("cpu"), told.append)
    session._place = lost = SimpleNamespace(type="cuda")
    real = session._run

    def run(image, outputs, place):
        if place is lost:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory\nmore")
        return real(image, outputs, place)

    monkeypatch.setattr(session, "_run", run)
    with pytest.raises(BatchError, match="CUDA out of memory"):
        session.run(np.zeros((2, 1, 32, 32), np.float32), {"heat": (2, 1, 16, 16)})
    assert session.providers == ("torch-cuda",)
    image = np.zeros((1, 1, 32, 32), np.float32)
    (heat,) = session.run(image, {"heat": (1, 1, 16, 16)})
    assert heat.shape == (1, 1, 16, 16)
    assert [(f.before, f.after, f.reason) for f in told] == [
        ("torch-cuda", "torch-cpu", "CUDA out of memory")
    ]
