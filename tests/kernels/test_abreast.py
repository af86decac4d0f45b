"""Frames that are asked for in step: one operation for all, and each its own result."""

from __future__ import annotations

import threading
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticewatch_kernels import launch
from latticewatch_kernels.abreast import abreast, each, in_step
from latticewatch_kernels.arrays import device, to_host
from latticewatch_kernels.fourier import irfft2, per_pixel, rfft2, room
from latticewatch_kernels.launch import ABREAST, PARAMETER_BYTES, abreast_most, copies, copy, zeros
from latticewatch_kernels.recording import in_company, own_stream, record

SEED = 7
SOURCES = sorted(path.stem for path in launch.SOURCES.glob("*.cu"))


def together(asked: list[int]) -> list[int]:
    seen.append(list(asked))
    return [2 * one for one in asked]


seen: list[list[int]] = []


def doubled_twice(number: int) -> int:
    return in_step("double", together, in_step("double", together, number))


@given(st.lists(st.integers(), min_size=1, max_size=9))
def test_what_is_the_same_of_all_is_done_at_once(numbers):
    seen.clear()
    made = abreast([lambda one=one: doubled_twice(one) for one in numbers], nullcontext)
    assert made == [4 * one for one in numbers]
    assert seen == [numbers, [2 * one for one in numbers]]


def test_alone_it_is_done_at_once():
    seen.clear()
    assert doubled_twice(3) == 12
    assert seen == [[3], [6]]


def test_what_fails_in_one_is_raised_and_nobody_is_left():
    def fail() -> None:
        in_step("double", together, 1)
        raise ValueError("of the second")

    before = threading.active_count()
    with pytest.raises(ValueError, match="of the second"):
        abreast([lambda: doubled_twice(1), fail], nullcontext)
    assert threading.active_count() == before


def test_what_fails_for_all_is_raised():
    def fail(_: list[int]) -> list[int]:
        raise ValueError("of all")

    with pytest.raises(ValueError, match="of all"):
        abreast([lambda: in_step("fail", fail, 1)] * 3, nullcontext)


@pytest.mark.parametrize("fewer", [True, False], ids=["ends early", "asks for another"])
def test_frames_that_part_are_told(fewer):
    def other() -> None:
        if not fewer:
            in_step("other", each, lambda: None)

    with pytest.raises(RuntimeError, match="not in step"):
        abreast([lambda: doubled_twice(1), other], nullcontext)


@pytest.mark.parametrize("number", [1, 2, 5, 17])
def test_transforms_and_copies_of_several(device_double, number):
    rng, cupy = np.random.default_rng(SEED), device_double.cupy
    images = [rng.normal(size=(24, 20)).astype(np.float32) for _ in range(number)]

    def work(image: np.ndarray) -> tuple:
        spectrum = rfft2(above[id(image)])
        blank = zeros(spectrum, (3,), np.float64)
        second = cupy.empty(spectrum.shape, spectrum.dtype)
        copy(second, spectrum)
        return spectrum, irfft2(second, image.shape), blank

    with device(0):
        above = {id(image): cupy.asarray(image) for image in images}
        works = [lambda image=image: work(image) for image in images]
        made, results = record(lambda: in_company(works), stream := own_stream())
        with stream:
            made.start()
        stream.synchronize()
        for image, (spectrum, back, blank) in zip(images, results, strict=True):
            np.testing.assert_allclose(to_host(spectrum), np.fft.rfft2(image), atol=2e-5)
            np.testing.assert_allclose(to_host(back), image, atol=2e-6)
            np.testing.assert_array_equal(to_host(blank), 0.0)


@pytest.mark.parametrize(
    ("number", "apart", "launches"), [(1, False, 3), (3, False, 3), (3, True, 6)]
)
def test_places_of_one_array_are_transformed_where_they_are(device_double, number, apart, launches):
    """An image is put there, and is transformed forth and back; others are copied before each."""
    rng, cupy = np.random.default_rng(SEED), device_double.cupy
    images = [rng.normal(size=(12, 10)).astype(np.float32) for _ in range(number)]

    def work(which: int) -> tuple:
        own = spare[which] if apart else room(spare[which], (12, 10), np.float32)
        copy(own, above[which])
        spectrum = rfft2(own)
        if apart:
            moved = cupy.empty(spectrum.shape, spectrum.dtype)
            copy(moved, spectrum)
            spectrum = moved
        return irfft2(spectrum, (12, 10), norm="forward")

    with device(0):
        above = [cupy.asarray(image) for image in images]
        spare = [cupy.empty((12, 10), np.float32) for _ in images]
        device_double.traffic.__init__()
        results = in_company([lambda which=k: work(which) for k in range(number)])
        assert device_double.traffic.operations == launches
        for image, result in zip(images, results, strict=True):
            back = to_host(result) * per_pixel((12, 10))
            np.testing.assert_allclose(back, image, atol=2e-6)


def test_copies_are_as_few_launches_as_can_be(device_double):
    cupy, number = device_double.cupy, 2 * ABREAST + 1
    with device(0):
        given = [cupy.asarray(np.full(5, k, np.float32)) for k in range(number)]
        to = [cupy.empty(5, np.float32) for _ in range(number)]
        device_double.traffic.__init__()
        copies(to, given)
        assert device_double.traffic.operations == 3
        for k, one in enumerate(to):
            np.testing.assert_array_equal(to_host(one), k)


@pytest.mark.parametrize("source", SOURCES)
def test_every_kernel_has_a_form_for_several(source):
    code = launch.code_abreast(source)
    kernels = launch._KERNEL.findall(launch._COMMENT.sub("", launch.code(source)))
    assert kernels
    for bounds, name, parameters in kernels:
        most = abreast_most(len(parameters.split(",")))
        assert most >= 4
        assert most * 8 * len(parameters.split(",")) <= PARAMETER_BYTES
        assert f"__global__ void {bounds}{name}_abreast(" in code
        assert f'"C" __global__ void {bounds}{name}(' not in code
