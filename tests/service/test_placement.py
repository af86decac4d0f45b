"""The analysis on a device (its double) is the host's, and goes on there when the device fails."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from latticewatch.analysis import Analyser
from latticewatch.detections import Detections
from latticewatch.devices.placement import MOST_SHORT, Placement, gpu_for
from latticewatch.resident import Plans
from latticewatch_kernels.conditioning import FrameContentError
from latticewatch_kernels.lattice import NoLatticeError
from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.devices import CudaDevice, CudaReport
from latticewatch_models.microscope import ImagingConfig, Microscope
from latticewatch_models.runtime import ProviderError, Segmenter

SEED = 11
GPU = CudaReport((CudaDevice("NVIDIA H100", 80 << 30),), "13.0")
NO_GPU = CudaReport(reason="NVIDIA's driver is not installed", mend="install it")
#: Part of a field's largest value by which rounding may move it, since kernels sum in other orders
#: and in double precision. Over five frames of 256 to 512 px it was 1.1e-5 at most.
ROUNDING = 5e-5
WORKS, BROKEN = ("", ""), ("CuPy is not installed", "install the cuda extra")


class DeviceLostError(RuntimeError):
    """What CuPy raises bears CuPy's name."""


DeviceLostError.__module__ = "cupy_backends.cuda.api.runtime"


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """Two frames of a specimen with a hole in it, so that no branch is left out."""
    imaging = ImagingConfig(dose_e_per_pixel=4000.0)
    y, x = np.ogrid[:256, :256]
    hole = (x - 60) ** 2 + (y - 70) ** 2 < 30**2
    seen = (frame.image for frame in Microscope("WS2", (256, 256), SEED, imaging=imaging).frames(2))
    return [np.where(hole, image.min(), image).astype(image.dtype) for image in seen]


@pytest.fixture(scope="module")
def analyser() -> Analyser:
    segmenter = Segmenter(providers="cpu", threads=1)
    return Analyser(segmenter, crystal=CRYSTALS["WS2"], check=True)


def plain(value, name: str = "") -> dict[str, np.ndarray]:
    """Arrays and numbers of nested dataclasses by name; an error for what is on a device."""
    if dataclasses.is_dataclass(value):
        apart = ("timings_ms", "computed", "runs")
        names = (f.name for f in dataclasses.fields(value) if f.name not in apart)
        parts = (plain(getattr(value, part), f"{name}.{part}") for part in names)
        return {label: array for part in parts for label, array in part.items()}
    if value is None:
        return {}
    assert isinstance(value, np.ndarray | tuple | float | int), f"{name} is {type(value)}"
    return {name: np.asarray(value)}


def assert_same(found: Detections, expected: Detections) -> None:
    """Everything that is counted is equal, and what is measured to `ROUNDING`; NaN equals NaN."""
    theirs, both = plain(expected), plain(found)
    assert both.keys() == theirs.keys()
    for name, ours in both.items():
        if theirs[name].dtype.kind in "iub":
            np.testing.assert_array_equal(ours, theirs[name], name)
        else:
            # probabilities are measured by 1: far from it they are exponentials of what is rounded
            least = 1.0 if name.endswith("probability") else 0.0
            size = np.nanmax(np.abs(theirs[name]), initial=least)
            np.testing.assert_allclose(ours, theirs[name], 0.0, ROUNDING * size, err_msg=name)


def test_the_whole_analysis_stays_on_the_device(device_double, analyser, frames):
    expected = analyser(frames[1])
    assert len(expected) > 5, f"seed {SEED} shows too little to tell anything"
    above = dataclasses.replace(analyser, placement=Placement(0))
    assert_same(above(frames[0]), analyser(frames[0]))
    traffic = device_double.traffic
    # the first frame took the tables up that all others of its shape use
    traffic.__init__()
    found = above(frames[1])
    assert_same(found, expected)
    assert str(expected.computed) == "segmenter by cpu on host in float32, arrays on host"
    assert found.computed == dataclasses.replace(expected.computed, arrays="cuda:0")
    # what crosses over is to become less, never more: see docs/performance.md
    # the frame goes up, and the network's input and maps; the network's input comes down, what is
    # published, and the labels that the frame is checked against
    assert (traffic.up, traffic.down) == (3, 3)


#: Crystal, nm to a pixel, (rows, columns), electrons a pixel, type. The network wants the second
#: and third at another scale, and the crystal of the fourth has no columns that lack something.
KINDS = [
    ("MoS2", 0.03, (160, 208), 800.0, np.float32),
    ("WS2", 0.055, (208, 190), 3000.0, np.uint16),
    ("WSe2", 0.016, (224, 224), 1600.0, np.int32),
    ("graphene", 0.02, (192, 160), 6000.0, np.float64),
]


@pytest.mark.parametrize(("crystal", "pixel_nm", "shape", "dose", "kind"), KINDS)
def test_frames_of_other_kinds(device_double, analyser, crystal, pixel_nm, shape, dose, kind):
    imaging = ImagingConfig(pixel_size_nm=pixel_nm, dose_e_per_pixel=dose)
    frame = Microscope(crystal, shape, SEED, imaging=imaging).acquire().image.astype(kind)
    here = dataclasses.replace(analyser, crystal=CRYSTALS[crystal], check=False)
    above = dataclasses.replace(here, placement=Placement(0), plans=Plans())
    expected = here(frame)
    assert len(expected) > 0, f"seed {SEED} shows nothing"
    for _ in range(2):
        found = above(frame)
        assert_same(found, expected)
        assert found.runs == 1


def test_a_frame_that_its_plan_does_not_fit_is_run_again(device_double, analyser, frames):
    """A plan of another scale, and buffers without room: the results are those of the frame."""
    above = dataclasses.replace(analyser, placement=Placement(0), plans=Plans())
    expected, shape = analyser(frames[0]), frames[0].shape
    above(frames[0])
    own = above.plans.of(shape)
    short = dataclasses.replace(own.room, found=2, marks=8, table=12, judged=3)
    for plan in (
        dataclasses.replace(own, stride=own.stride + 1),
        dataclasses.replace(own, room=short),
    ):
        above.plans.keep(plan)
        found = above(frames[0])
        assert_same(found, expected)
        assert found.runs > 1
    assert above.plans.of(shape).room.found >= len(expected)


def test_a_host_array_on_the_device_is_refused_by_the_double(device_double):
    above = device_double.cupy.asarray(np.ones(3))
    with pytest.raises(TypeError, match="Unsupported"):
        above + np.ones(3)
    with pytest.raises(TypeError, match="Unsupported"):
        np.ones(3) + above
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(above)
    with pytest.raises(TypeError, match="Unsupported"):
        device_double.cupy.add(above, np.ones(3))
    np.testing.assert_array_equal((above + np.float32(1)).get(), [2, 2, 2])


@pytest.mark.expects_errors
def test_a_device_that_is_lost_loses_no_frame(device_double, caplog):
    told, places = [], []

    def above(frames, gpu):
        places.append(gpu)
        raise DeviceLostError("cudaErrorUnknown: unknown error\nstack")

    placement = Placement(0, told.append)
    for _ in range(2):
        placement.run("frame", above, lambda _: places.append("host"))
    assert places == [0, "host", "host"]
    assert [(f.before, f.after, f.reason) for f in told] == [
        ("cuda:0", "host", "cudaErrorUnknown: unknown error")
    ]
    assert placement.gpu is None
    assert "frames go on on the host" in caplog.text


class OutOfMemoryError(MemoryError):
    """As above."""


OutOfMemoryError.__module__ = "cupy.cuda.memory"


def short_of_memory(device_double, failures: int) -> tuple[Placement, list, list, list]:
    """A placement, what is told of it, where frames went, and when memory was given back."""
    told, places, freed = [], [], []
    pool = SimpleNamespace(free_all_blocks=lambda: freed.append(len(places)))
    device_double.cupy.get_default_memory_pool = lambda: pool

    def above(frames, gpu):
        places.append("gpu")
        if places.count("gpu") <= failures:
            raise OutOfMemoryError("out of memory allocating 1 byte")
        return ["done"]

    placement = Placement(0, told.append)
    placement.frame = lambda: placement.run("frame", above, lambda _: places.append("host"))
    return placement, told, places, freed


def test_memory_that_is_given_back_serves_the_same_frame(device_double):
    placement, told, places, freed = short_of_memory(device_double, 1)
    placement.frame()
    assert (places, freed, told, placement.gpu) == (["gpu", "gpu"], [1], [], 0)


@pytest.mark.expects_errors
def test_a_device_short_of_memory_for_a_while_is_kept(device_double, caplog):
    placement, told, places, _ = short_of_memory(device_double, 4)
    for _ in range(3):
        placement.frame()
    assert places == ["gpu", "gpu", "host"] * 2 + ["gpu"]
    assert [(f.before, f.after) for f in told] == [("cuda:0", "cuda:0 but for single frames")]
    assert placement.gpu == 0
    assert caplog.text.count("has no memory for a frame") == 1


@pytest.mark.expects_errors
def test_a_device_that_stays_short_of_memory_is_given_up(device_double):
    placement, told, places, _ = short_of_memory(device_double, 99)
    for _ in range(MOST_SHORT + 1):
        placement.frame()
    assert places == ["gpu", "gpu", "host"] * MOST_SHORT + ["host"]
    assert [f.after for f in told] == ["cuda:0 but for single frames", "host"]
    assert placement.gpu is None


def test_what_is_wrong_with_the_frame_is_not_the_devices_fault(device_double, analyser):
    placement = Placement(0)
    noise = np.random.default_rng(3).poisson(50, (128, 128)).astype(np.uint16)
    with pytest.raises(NoLatticeError):
        dataclasses.replace(analyser, placement=placement)(noise)
    assert placement.gpu == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, 3.0], ids=["NaN", "infinite", "constant"])
def test_content_is_refused_as_on_the_host(device_double, analyser, value):
    frame = np.full((128, 128), 3.0, np.float32)
    frame[50, 60] = value
    with pytest.raises(FrameContentError) as expected:
        analyser(frame)
    placement = Placement(0)
    with np.errstate(invalid="ignore", divide="ignore"), pytest.raises(FrameContentError) as found:
        dataclasses.replace(analyser, placement=placement)(frame)
    assert str(found.value) == str(expected.value)
    assert placement.gpu == 0, "the frame's fault is not the device's"


def test_frames_go_where_the_segmenter_is():
    assert gpu_for("auto", ("cpu",), lambda: GPU, lambda _: WORKS) is None
    assert gpu_for("auto", ("cuda", "cpu"), lambda: GPU, lambda _: WORKS) == 0
    assert gpu_for("cpu", ("cpu",), lambda: GPU, lambda _: WORKS) is None
    assert gpu_for("cuda:0", ("cuda", "cpu"), lambda: GPU, lambda _: WORKS) == 0


def test_a_cupy_that_does_not_work_is_told(caplog):
    assert gpu_for("auto", ("cuda",), lambda: GPU, lambda _: BROKEN) is None
    assert "arrays stay on the host: CuPy is not installed" in caplog.text
    with pytest.raises(ProviderError, match="install the cuda extra"):
        gpu_for("cuda:0", ("cuda",), lambda: GPU, lambda _: BROKEN)
    with pytest.raises(ProviderError, match="driver is not installed"):
        gpu_for("cuda:0", ("cuda",), lambda: NO_GPU, lambda _: WORKS)
