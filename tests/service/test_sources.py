from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from latticewatch.sources import MovieError, open_movie
from latticewatch.sources.sidecar import read_sidecar

STACK = np.arange(3 * 70 * 80, dtype=np.float32).reshape(3, 70, 80)


def write_npy(path):
    np.save(path, STACK)


def write_tiff(path):
    tifffile.imwrite(
        path, STACK, imagej=True, resolution=(32.0, 32.0), metadata={"unit": "nm", "axes": "TYX"}
    )


def write_hdf5(path):
    with h5py.File(path, "w") as file:
        data = file.create_dataset("entry/data", data=STACK)
        data.attrs["pixel_size_nm"] = 0.03125
        file.create_dataset("entry/times", data=np.arange(3.0))


@pytest.mark.parametrize(
    ("name", "write"), [("m.npy", write_npy), ("m.tif", write_tiff), ("m.h5", write_hdf5)]
)
def test_a_movie_reads_back_frame_by_frame(tmp_path, name, write):
    write(tmp_path / name)
    movie = open_movie(tmp_path / name)
    assert (movie.count, movie.shape) == (3, (70, 80))
    np.testing.assert_array_equal(np.stack(list(movie)), STACK)
    if name != "m.npy":
        assert movie.pixel_size_nm == pytest.approx(1 / 32)


def test_a_single_image_is_a_movie_of_one_frame(tmp_path):
    np.save(tmp_path / "one.npy", STACK[0])
    movie = open_movie(tmp_path / "one.npy")
    assert movie.count == 1
    np.testing.assert_array_equal(movie.read(0), STACK[0])


def test_the_sidecar_wins_and_gives_the_pixel_size_by_field_of_view(tmp_path):
    write_tiff(tmp_path / "m.tif")
    document = {"a": {"field_of_view_x": 8.0, "field_of_view_units": "nm"}, "frame_time_s": 2.25}
    (tmp_path / "m.json").write_text(json.dumps(document))
    movie = open_movie(tmp_path / "m.tif")
    assert movie.pixel_size_nm == pytest.approx(8.0 / 80)
    assert movie.frame_time_s == 2.25


def test_bad_movies_name_the_cause(tmp_path):
    (tmp_path / "a.xyz").write_text("")
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY")
    np.save(tmp_path / "deep.npy", np.zeros((2, 2, 2, 2)))
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    for name, cause in [
        ("a.xyz", "no reader"),
        ("none.npy", "no such file"),
        ("broken.npy", "not readable"),
        ("deep.npy", "4 axes"),
        ("pickled.npy", "not readable"),
        ("empty.h5", "no two- or three-dimensional dataset"),
    ]:
        with pytest.raises(MovieError, match=cause):
            open_movie(tmp_path / name)


def test_a_sidecar_with_an_unknown_unit_is_refused(tmp_path):
    (tmp_path / "m.json").write_text('{"field_of_view_x": 1, "field_of_view_units": "furlong"}')
    with pytest.raises(ValueError, match="furlong"):
        read_sidecar(tmp_path / "m.json", (70, 80))


@given(
    field_nm=st.floats(0.5, 500),
    columns=st.integers(64, 8192),
    unit=st.sampled_from([("nm", 1.0), ("um", 1e3), ("pm", 1e-3)]),
)
def test_pixel_size_times_columns_is_the_field_of_view(tmp_path_factory, field_nm, columns, unit):
    name, nm = unit
    path = tmp_path_factory.mktemp("s") / "m.json"
    path.write_text(json.dumps({"field_of_view_x": field_nm / nm, "field_of_view_units": name}))
    found = read_sidecar(path, (64, columns)).pixel_size_nm
    assert found is not None
    assert found * columns == pytest.approx(field_nm)
