import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from latticewatch_models import variants  # noqa: E402
from latticewatch_models.runtime import ZOO_MODEL, Segmenter  # noqa: E402
from latticewatch_models.scenes import scene_of  # noqa: E402
from latticewatch_models.validation import validation_frame  # noqa: E402


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("variants")
    variants.write_int8(ZOO_MODEL, folder / "int8.onnx", scenes=16)
    variants.write_fp16(ZOO_MODEL, folder / "fp16.onnx")
    return folder


@pytest.fixture(scope="module")
def image():
    frame = validation_frame(1600.0, 3000, (160, 132))
    return scene_of(frame.image, frame.truth).image


@pytest.mark.parametrize(("name", "share"), [("int8", 0.4), ("fp16", 0.6)])
def test_a_variant_is_smaller_and_says_what_it_is(written, name, share):
    path = written / f"{name}.onnx"
    assert path.stat().st_size < share * ZOO_MODEL.stat().st_size
    original, card = (Segmenter(p, providers="cpu").card for p in (ZOO_MODEL, path))
    assert card.notes == {**original.notes, "variant": name}
    assert (card.seed, card.stride, card.columns) == (
        original.seed,
        original.stride,
        original.columns,
    )


@pytest.mark.parametrize(("name", "heat", "pixels"), [("int8", 0.05, 0.2), ("fp16", 0.002, 0.01)])
def test_a_variant_sees_what_the_original_sees(written, image, name, heat, pixels):
    original = Segmenter(ZOO_MODEL, providers="cpu", threads=1).segment(image)
    seen = Segmenter(written / f"{name}.onnx", providers="cpu", threads=1).segment(image)
    assert seen.heat.dtype == seen.offset.dtype == np.float32
    assert np.abs(seen.heat - original.heat).mean() < heat
    sure = original.heat > 0.9
    assert sure.sum() > 5
    assert (seen.heat[sure] > 0.5).mean() > 0.9
    assert np.abs(seen.offset - original.offset)[:, sure].mean() < pixels


def test_the_command_writes_what_it_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(variants.write_int8, "__defaults__", (2, 1))
    variants.main([str(ZOO_MODEL), "--int8", "--out", str(tmp_path)])
    assert [p.name for p in tmp_path.iterdir()] == ["defects-int8.onnx"]
    with pytest.raises(SystemExit):
        variants.main([str(ZOO_MODEL), "--out", str(tmp_path)])


def test_a_file_that_is_no_segmenter_is_refused(tmp_path):
    model = onnx.load(ZOO_MODEL)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    with pytest.raises(variants.ModelError, match="not a segmenter of this version"):
        variants.write_fp16(tmp_path / "foreign.onnx", tmp_path / "out.onnx")
