"""Which providers are tried, on machines that are made up."""

import onnxruntime
import pytest

from latticewatch_models import opened
from latticewatch_models.devices import CudaDevice, CudaReport, Device
from latticewatch_models.providers import (
    PROVIDERS,
    Machine,
    ProviderError,
    bring_libraries,
    choose,
)

GPU = CudaReport((CudaDevice("NVIDIA H100", 80 << 30),), "13.0")
NO_GPU = CudaReport(reason="NVIDIA's driver is not installed", mend="install it")
CPU_ONLY = ("cpu",)
ALL = tuple(PROVIDERS)


def machine(available=ALL, cuda=GPU, load=lambda path: None):
    return Machine(lambda: [PROVIDERS[name] for name in available], lambda: cuda, load)


def test_auto_takes_all_there_is_fastest_first():
    choice = choose(Device("auto"), "auto", machine())
    assert (choice.names, choice.passed_over, choice.required) == (ALL, (), 0)


def test_auto_says_why_it_passes_over():
    choice = choose(Device("auto"), "auto", machine(("cuda", "cpu"), NO_GPU))
    assert choice.names == CPU_ONLY
    reasons = {passed.name: passed.reason for passed in choice.passed_over}
    assert reasons["cuda"] == "NVIDIA's driver is not installed"
    assert reasons["openvino"] == "is not in the installed onnxruntime"


def test_the_cpu_never_gets_what_needs_a_gpu():
    assert choose(Device("cpu"), "auto", machine()).names == ("openvino", "cpu")
    with pytest.raises(ProviderError, match="'cuda' needs a GPU: leave --device cpu out"):
        choose(Device("cpu"), "cuda", machine())


def test_a_device_that_is_asked_for_is_used_or_an_error():
    two = CudaReport(GPU.devices * 2, "13.0")
    choice = choose(Device("auto", 1), "auto", machine(cuda=two))
    assert (choice.names, choice.index, choice.required) == (ALL, 1, 0)
    choice = choose(Device("cuda", 0), "auto", machine())
    assert (choice.names[0], choice.index, choice.required) == ("tensorrt", 0, 2)
    assert not choice.every
    with pytest.raises(ProviderError, match=r"cuda:0 cannot be used: NVIDIA's driver is not"):
        choose(Device("cuda", 0), "auto", machine(cuda=NO_GPU))
    with pytest.raises(ProviderError, match=r"there is no cuda:1, this machine has 1 CUDA device"):
        choose(Device("cuda", 1), "auto", machine())
    with pytest.raises(
        ProviderError, match=r"is not in the installed onnxruntime: install the cuda"
    ):
        choose(Device("cuda", 0), "auto", machine(CPU_ONLY))
    with pytest.raises(ProviderError, match="'cpu' does not run on cuda:0"):
        choose(Device("cuda", 0), "cpu", machine())


def test_named_providers_are_required_in_full():
    choice = choose(Device("auto"), ["cuda", "cpu"], machine())
    assert (choice.names, choice.required) == (("cuda", "cpu"), 2)
    with pytest.raises(ProviderError, match="'cuda' is not in the installed onnxruntime"):
        choose(Device("auto"), ["cuda", "cpu"], machine(CPU_ONLY))
    with pytest.raises(ProviderError, match=r"'tensorrt' cannot be used \(NVIDIA's driver"):
        choose(Device("auto"), "tensorrt", machine(cuda=NO_GPU))


def test_a_provider_that_fails_to_load_names_the_library():
    def load(path):
        if "cuda" in path:
            raise OSError("libcudnn.so.9: cannot open shared object file")

    failed = machine(load=load).why_failed("cuda")
    assert "libcudnn.so.9" in failed.reason
    assert "cuDNN 9" in failed.mend
    assert "log of ONNX Runtime" in machine().why_failed("cuda").reason
    assert "CUDA out of memory" in machine().why_failed("cuda", "CUDA out of memory").reason


def test_libraries_that_pip_has_brought_are_loaded_once_and_quietly(monkeypatch, caplog, capsys):
    def load():
        print("Failed to load libcudnn.so.9")

    monkeypatch.setattr(onnxruntime, "preload_dlls", load)
    bring_libraries.cache_clear()
    with caplog.at_level("INFO"):
        for _ in range(2):
            bring_libraries()
    bring_libraries.cache_clear()
    assert caplog.messages == ["onnxruntime: Failed to load libcudnn.so.9"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("names", "brought"), [(("cpu",), 0), (("cuda", "cpu"), 1)])
def test_libraries_are_brought_where_a_gpu_may_be_used(monkeypatch, names, brought):
    asked = []
    monkeypatch.setattr(opened, "bring_libraries", lambda: asked.append(names))
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: None)
    opened.Source(b"").open(names)
    assert len(asked) == brought
