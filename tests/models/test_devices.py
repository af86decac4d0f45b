"""What NVIDIA's driver says, by drivers made up of ctypes objects."""

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticewatch_models.devices import CudaDevice, CudaReport, Device, DeviceError, cuda_report


class Driver:
    """Answers as libcuda does, through pointers."""

    def __init__(self, devices=(), status=0, version=13000):
        self.devices, self.status, self.version = devices, status, version

    def cuInit(self, flags):  # noqa: N802
        return self.status

    def cuDriverGetVersion(self, where):  # noqa: N802
        where._obj.value = self.version

    def cuDeviceGetCount(self, where):  # noqa: N802
        where._obj.value = len(self.devices)

    def cuDeviceGet(self, where, index):  # noqa: N802
        where._obj.value = index

    def cuDeviceGetName(self, buffer, size, handle):  # noqa: N802
        name = self.devices[handle.value][0].encode()
        assert len(name) < size
        ctypes.memmove(buffer, name + b"\0", len(name) + 1)

    def cuDeviceTotalMem_v2(self, where, handle):  # noqa: N802
        where._obj.value = self.devices[handle.value][1]


def test_devices_are_described_as_the_driver_has_them():
    gpus = (("NVIDIA H100", 80 << 30), ("NVIDIA T4", 16 << 30))
    report = cuda_report(lambda _: Driver(gpus))
    assert report.devices == tuple(CudaDevice(*gpu) for gpu in gpus)
    assert (report.driver, report.reason) == ("13.0", "")
    assert report.why_not(1) is None
    assert report.why_not(2) == (
        "there is no cuda:2, this machine has 2 CUDA devices",
        "give cuda:0 to cuda:1",
    )


def test_one_device_is_told_in_the_singular():
    report = CudaReport((CudaDevice("one", 1),))
    assert report.why_not(1) == (
        "there is no cuda:1, this machine has 1 CUDA device",
        "give cuda:0",
    )


def test_a_machine_without_a_driver():
    def load(name):
        raise OSError(f"{name}: cannot open shared object file")

    report = cuda_report(load)
    assert report.devices == ()
    assert "driver is not installed" in report.why_not(0)[0]
    assert "--device cpu" in report.why_not(0)[1]


@pytest.mark.parametrize(("status", "mend"), [(100, "--gpus all"), (803, "restart"), (999, "log")])
def test_a_driver_that_does_not_start(status, mend):
    reason, told = cuda_report(lambda _: Driver(status=status)).why_not(0)
    assert f"error {status}" in reason
    assert mend in told


def test_a_driver_that_sees_no_gpu():
    report = cuda_report(lambda _: Driver(version=12040))
    assert report.driver == "12.4"
    assert "CUDA_VISIBLE_DEVICES" in report.why_not(0)[1]


@pytest.mark.parametrize("text", ["auto", "cpu", "cuda:0", "cuda:12"])
def test_devices_read_back_what_they_print(text):
    assert str(Device.parse(text)) == text
    assert Device.parse("cuda") == Device("cuda", 0)


@given(st.text(max_size=12))
def test_anything_else_is_an_error_that_says_what_is_known(text):
    try:
        device = Device.parse(text)
    except DeviceError as error:
        assert "give auto, cpu, cuda or cuda:N" in str(error)  # noqa: PT017
    else:
        assert text == "cuda" or str(device) == text or text.startswith("cuda:0")
