"""The doctor on machines that are made up, and on this one."""

import json

import pytest

from latticewatch.cli import main
from latticewatch.doctor import Probes, as_text, examine
from latticewatch_models.devices import CudaDevice, CudaReport
from latticewatch_models.runtime import PassedOver, ProviderError

GPU = CudaReport((CudaDevice("NVIDIA H100 80GB HBM3", 80 << 30),), "13.0")
NO_GPU = CudaReport(reason="NVIDIA's driver is not installed", mend="install NVIDIA's driver")


class Seen:
    """What a segmenter says of itself once it runs."""

    def __init__(self, providers, passed_over=()):
        self.providers, self.passed_over = providers, passed_over
        self.precision = "fp32" if providers[0] == "cpu" else "fp16"


def probes(gpus, segmenter, cupy=("", "")):
    def asked(index):
        assert gpus.devices, "CuPy is asked although there is no GPU"
        return cupy

    versions = {"latticewatch": "1.2", "python": "3.11.7", "numpy": "2.4"}
    return Probes(lambda: gpus, asked, segmenter, lambda: versions)


def test_a_machine_without_a_gpu():
    passed = tuple(PassedOver(name, NO_GPU.reason, NO_GPU.mend) for name in ("tensorrt", "cuda"))
    found = examine(probes=probes(NO_GPU, lambda *_, **__: Seen(("cpu",), passed)))
    text = as_text(found)
    assert found.trouble == ""
    assert text.count("NVIDIA's driver is not installed") == 1
    assert text.splitlines()[-1].endswith("segmenter on cpu in fp32, the rest on host")


def test_a_machine_without_cuda_libraries():
    reason = "did not start (its libraries do not load: libcudnn.so.9: cannot open shared object)"
    passed = (PassedOver("cuda", reason, "install the cuda extra"),)
    found = examine(
        probes=probes(GPU, lambda *_, **__: Seen(("cpu",), passed), ("CuPy fails", "mend it"))
    )
    text = as_text(found)
    assert "NVIDIA H100 80GB HBM3, 80 GiB" in text
    assert "libcudnn.so.9" in text
    assert "mend: install the cuda extra" in text
    assert "CuPy fails" in text
    assert "mend: mend it" in text


def test_a_device_that_is_asked_for_and_fails():
    def segmenter(model, providers, threads, device, backend, tuning):
        assert str(device) == "cuda:0"
        raise ProviderError("provider 'cuda' did not start (no kernel image): update the driver")

    found = examine("cuda:0", probes=probes(GPU, segmenter))
    assert "NOT USABLE: provider 'cuda' did not start (no kernel image)" in as_text(found)


def test_a_gpu_whose_cupy_fails_is_no_device():
    broken = ("CuPy 14.2 cannot compute (no kernel image)", "match the versions")
    running = probes(GPU, lambda *_, **__: Seen(("cuda", "cpu")), broken)
    text = as_text(examine("auto", probes=running))
    assert "segmenter on cuda in fp16, the rest on host" in text
    assert "mend: match the versions" in text
    assert "NOT USABLE: device cuda:0 cannot be used" in as_text(examine("cuda", probes=running))


def test_the_torch_backend_is_examined_too(tmp_path, capsys):
    pytest.importorskip("torch")
    settings = tmp_path / "settings.toml"
    settings.write_text('[analysis]\nbackend = "torch"\n')
    assert main(["doctor", "--config", str(settings), "--device", "cpu"]) == 0
    assert "segmenter on torch-cpu in fp32" in capsys.readouterr().out


def test_a_gpu_in_use():
    found = examine("cuda", probes=probes(GPU, lambda *_, **__: Seen(("tensorrt", "cuda", "cpu"))))
    assert "serves CUDA 13.0" in as_text(found)
    assert "segmenter on tensorrt in fp16, the rest on cuda:0" in as_text(found)
    assert "CuPy" not in as_text(found)


TWO = CudaReport((*GPU.devices, CudaDevice("NVIDIA A2", 16 << 30)), "13.0")


def test_every_device_that_was_named_is_tried():
    def segmenter(model, providers, threads, device, backend, tuning):
        if device.index == 1:
            raise ProviderError(
                "provider 'cuda' did not start (no kernel image): update the driver"
            )
        return Seen(("tensorrt", "cuda", "cpu"))

    found = examine("cuda:0,cuda:1", probes=probes(TWO, segmenter))
    assert [use.device for use in found.uses] == ["cuda:0", "cuda:1"]
    assert found.trouble.startswith("provider 'cuda' did not start")
    first, second = as_text(found).splitlines()[-2:]
    assert first.split(maxsplit=2)[1:] == [
        "cuda:0",
        "segmenter on tensorrt in fp16, the rest on cuda:0",
    ]
    assert second.split(maxsplit=2)[1] == "cuda:1"
    assert "NOT USABLE: provider 'cuda' did not start" in second


def test_auto_is_tried_on_every_gpu():
    def segmenter(*using):
        return lambda model, providers, threads, device, backend, tuning: Seen(
            ("cuda", "cpu") if device.index in using else ("cpu",)
        )

    def verdicts(*using):
        found = examine(probes=probes(TWO, segmenter(*using)))
        assert found.trouble == ""
        return [line.split(maxsplit=1)[1] for line in as_text(found).splitlines()[-2:]]

    on, host = (
        "segmenter on cuda in fp16, the rest on cuda:{}",
        "segmenter on cpu in fp32, the rest on host",
    )
    assert verdicts(0, 1) == [f"cuda:{k} {on.format(k)}" for k in range(2)]
    assert verdicts(1) == [f"cuda:0 passed over: it would be {host}", f"cuda:1 {on.format(1)}"]
    assert verdicts() == [f"auto   {host}", f"cuda:1 passed over: it would be {host}"]


def test_what_holds_of_all_devices_is_said_once():
    passed = (PassedOver("tensorrt", "did not start (no library)", "install it"),)
    seen = Seen(("cuda", "cpu"), passed)
    text = as_text(examine(probes=probes(TWO, lambda *_, **__: seen)))
    assert text.count("tensorrt: did not start") == 1


def test_the_command_on_this_machine(capsys, tmp_path):
    assert main(["doctor", "--device", "cpu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (use,) = found["uses"]
    assert use["providers"][-1] == "cpu"
    assert (use["placement"], use["used"]) == ("host", True)
    assert found["software"]["numpy"]
    assert main(["doctor", "--model", str(tmp_path / "none.onnx")]) == 1
    assert "NOT USABLE" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["doctor", "serve"])
def test_a_device_that_is_none_is_refused_by_name(command, capsys, tmp_path):
    data = ["--data", str(tmp_path)] if command == "serve" else []
    assert main([command, "--device", "gpu", *data]) == 1
    assert "give auto, cpu, cuda or cuda:N" in capsys.readouterr().err
