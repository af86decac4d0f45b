"""What a GPU is asked for, as data: the documented options of ONNX Runtime's providers."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticewatch_models import tuning
from latticewatch_models.tuning import (
    Form,
    Site,
    Tuning,
    default_engines,
    engine_folder,
    provider_options,
)

SITE = Site(1, "NVIDIA H100 80GB HBM3", 4096)
FIXED = Form((512, 384), half=True, engines="/cache")


def test_the_host_is_asked_for_nothing():
    assert provider_options("cpu", SITE, FIXED, Tuning(cuda_graph=True)) == {}


@pytest.mark.parametrize(
    ("threads", "streams"), [(0, "1"), (1, "6"), (2, "3"), (4, "1"), (6, "1"), (64, "1")]
)
def test_openvino_runs_as_many_frames_as_there_are_cores_for(threads, streams, monkeypatch):
    monkeypatch.setattr(tuning, "cores", lambda: 6)
    options = provider_options("openvino", Site(), Form(), Tuning(), threads)
    assert (options["num_of_threads"], options["num_streams"]) == ("6", streams)


@pytest.mark.parametrize(
    ("precision", "hint"), [("auto", "f32"), ("fp32", "f32"), ("fp16", "f32"), ("bf16", "bf16")]
)
def test_openvino_is_told_the_number_format(precision, hint):
    options = provider_options("openvino", Site(), Form(), Tuning(precision))
    assert json.loads(options["load_config"]) == {"CPU": {"INFERENCE_PRECISION_HINT": hint}}
    assert Tuning(precision).brains("openvino") == (precision == "bf16")
    assert not Tuning(precision).brains("cuda")


def test_cuda_works_on_the_stream_that_it_is_given():
    assert provider_options("cuda", SITE, Form(), Tuning()) == {
        "device_id": "1", "user_compute_stream": "4096", "use_tf32": "0",
        "cudnn_conv_algo_search": "HEURISTIC", "prefer_nhwc": "1",
    }  # fmt: skip
    assert "user_compute_stream" not in provider_options("cuda", Site(), Form(), Tuning())


def test_what_is_recorded_is_tried_out_before():
    lasting = provider_options("cuda", SITE, replace(FIXED, lasting=True), Tuning())
    assert lasting["cudnn_conv_algo_search"] == "EXHAUSTIVE"
    assert lasting["fuse_conv_bias"] == "1"
    assert "enable_cuda_graph" not in lasting


def test_a_form_fixes_the_sizes_that_it_is_for():
    assert Form().fixed == {}
    assert Form((16, 32)).fixed == {"height": 16, "width": 32}
    assert Form((16, 32), number=3).fixed == {"batch": 3, "height": 16, "width": 32}


def test_cuda_records_graphs_of_fixed_shapes_alone():
    graphs = Tuning(cuda_graph=True)
    assert provider_options("cuda", SITE, FIXED, graphs)["enable_cuda_graph"] == "1"
    assert "enable_cuda_graph" not in provider_options("cuda", SITE, Form(), graphs)
    assert "enable_cuda_graph" not in provider_options("cuda", SITE, FIXED, Tuning())


def test_tensorrt_builds_for_a_shape_and_keeps_what_it_built():
    assert provider_options("tensorrt", SITE, FIXED, Tuning(cuda_graph=True, most=16)) == {
        "device_id": "1",
        "user_compute_stream": "4096",
        "trt_fp16_enable": "1",
        "trt_cuda_graph_enable": "1",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": "/cache",
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": "/cache",
        "trt_profile_min_shapes": "frame:1x1x512x384",
        "trt_profile_opt_shapes": "frame:16x1x512x384",
        "trt_profile_max_shapes": "frame:16x1x512x384",
    }
    assert provider_options("tensorrt", Site(), Form(), Tuning()) == {
        "device_id": "0", "trt_fp16_enable": "0",
    }  # fmt: skip


def test_sixteen_bits_are_for_the_gpu_unless_asked_for():
    assert [Tuning().halves(name) for name in ("tensorrt", "cuda", "openvino", "cpu")] == [
        True, True, False, False,
    ]  # fmt: skip
    assert Tuning("fp16").halves("cpu")
    assert not Tuning("fp32").halves("cuda")


KEYS = st.tuples(
    st.binary(max_size=3),
    st.sampled_from(["NVIDIA H100", "NVIDIA H200", ""]),
    st.booleans(),
    st.tuples(st.integers(16, 18), st.integers(16, 18)),
    st.integers(1, 3),
    st.sampled_from(["1.31.0", "1.32.0", "1.31.0-trt-10.9"]),
)


def folder(key):
    model, name, half, sides, most, version = key
    site, form = Site(0, name), Form(sides, half)
    return engine_folder(Path("/root"), model, site, form, Tuning(most=most), version)


@given(KEYS, KEYS)
def test_engines_of_two_kinds_never_meet(one, other):
    assert (folder(one) == folder(other)) == (one == other)
    assert folder(one).relative_to("/root").parts == folder(one).parts[2:]


def test_engines_follow_the_kind_of_a_device_not_its_number():
    here = engine_folder(Path("/root"), b"", SITE, FIXED, Tuning(), "1")
    assert here == engine_folder(Path("/root"), b"", replace(SITE, index=3), FIXED, Tuning(), "1")


def test_engines_are_kept_in_the_cache(monkeypatch):
    monkeypatch.setenv("CACHE_DIRECTORY", "/var/cache/latticewatch")
    assert default_engines() == Path("/var/cache/latticewatch/engines")
    monkeypatch.delenv("CACHE_DIRECTORY")
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/user/cache")
    assert default_engines() == Path("/home/user/cache/latticewatch/engines")
