"""On a real GPU: the network in both precisions, in batches, with recorded graphs, on one stream.

Skipped without one; `tests/models/test_sessions.py` then holds what can be held by doubles.
"""

from __future__ import annotations

import numpy as np
import pytest

from latticewatch_kernels.arrays import device, to_host, upload
from latticewatch_kernels.recording import own_stream
from latticewatch_models import packing
from latticewatch_models.providers import ProviderError
from latticewatch_models.runtime import Segmenter
from latticewatch_models.scenes import scene_of
from latticewatch_models.tuning import Tuning
from latticewatch_models.validation import validation_frame

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    frames = [validation_frame(1600.0, 500 + k) for k in range(5)]
    return [scene_of(frame.image, frame.truth).image for frame in frames]


@pytest.fixture(scope="module")
def host() -> Segmenter:
    return Segmenter(providers="cpu", threads=1)


def on_gpu(provider: str, **tuning) -> Segmenter:
    try:
        return Segmenter(providers=(provider, "cpu"), tuning=Tuning(**tuning))
    except ProviderError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-3), ("auto", 2e-2)])
def test_the_network_is_the_hosts(images, host, provider, precision, bound, tmp_path):
    segmenter = on_gpu(provider, precision=precision, engines=tmp_path, most=5)
    with device(0):
        above = [upload(image, which) for which, image in enumerate(images)]
        together = segmenter.segment_all(above, columns=True)
        alone = [segmenter.segment(image, columns=True) for image in above]
    for image, *seen in zip(images, together, alone, strict=True):
        expected = host.segment(image, columns=True)
        for found in seen:
            for name in ("heat", "column_heat"):
                ours, theirs = to_host(getattr(found, name)), getattr(expected, name)
                np.testing.assert_allclose(ours, theirs, atol=bound, err_msg=name)
    assert segmenter.falls == ()


@pytest.mark.parametrize("least", [packing.LEAST_PIXELS, 1])
@pytest.mark.parametrize("number", [1, 4])
def test_the_rewritten_network_is_the_hosts(images, host, number, least, monkeypatch, caplog):
    monkeypatch.setattr(packing, "LEAST_PIXELS", least)
    segmenter = on_gpu("cuda")
    with device(0), own_stream():
        network = segmenter.beside(number, images[0].shape)
        for which in range(number):
            network.put(which, segmenter.padded([upload(images[which], which)]))
        network.run()
        heat, offset = (to_host(network.results[name]) for name in ("heat", "offset"))
    assert "rewritten" not in caplog.text  # it was, and it started
    for which in range(number):
        expected = host.segment(images[which])
        np.testing.assert_allclose(heat[which, 0], expected.heat, atol=2e-2)
        sure = expected.heat > 0.5
        np.testing.assert_allclose(offset[which][:, sure], expected.offset[:, sure], atol=0.05)


def test_recorded_graphs_give_what_the_work_itself_gives(images):
    plain, recorded = on_gpu("cuda"), on_gpu("cuda", cuda_graph=True)
    with device(0):
        for image in images * 2:
            above = upload(image)
            ours, theirs = recorded.segment(above), plain.segment(above)
            np.testing.assert_allclose(to_host(ours.heat), to_host(theirs.heat), atol=2e-3)
    assert recorded.falls == ()


def test_engines_are_built_once(images, tmp_path):
    for _ in range(2):
        segmenter = on_gpu("tensorrt", engines=tmp_path)
        with device(0):
            segmenter.segment(upload(images[0]))
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.engine")}
    assert kept
    segmenter = on_gpu("tensorrt", engines=tmp_path)
    with device(0):
        segmenter.segment(upload(images[0]))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.engine")} == kept
