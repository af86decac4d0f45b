"""Providers that fail, at the start and while frames run; a double stands for ONNX Runtime."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from latticewatch_kernels import arrays
from latticewatch_models import opened as opening
from latticewatch_models import sessions
from latticewatch_models.devices import CudaDevice, CudaReport
from latticewatch_models.opened import MOST_SHAPES, Opened, Source
from latticewatch_models.providers import PROVIDERS, Choice, Machine, PassedOver, ProviderError
from latticewatch_models.runtime import ZOO_MODEL
from latticewatch_models.sessions import BatchError, FallingSession, UnreadableModelError
from latticewatch_models.tuning import Site, Tuning

ALL = ("tensorrt", "cuda", "cpu")
GPU = CudaReport((CudaDevice("NVIDIA H100", 80 << 30),), "13.0")
FP32 = Tuning("fp32")
IMAGE, WANTED = np.zeros((1, 1, 16, 16), np.float32), {"heat": (1, 1, 4, 4)}


class Runtime:
    """Stands for the onnxruntime module: which providers start, and which fail when they run.

    `dropped` are left out of a session without a word, as ONNX Runtime does when libraries are
    missing; `refused` raise when a session is opened, `breaking` when it runs.
    """

    class SessionOptions:
        def __init__(self):
            self.fixed = {}

        def add_free_dimension_override_by_name(self, name, size):
            self.fixed[name] = size

    def __init__(self, dropped=(), refused=(), breaking=(), readable=True):
        self.sessions = []
        self.dropped, self.refused, self.breaking = dropped, refused, set(breaking)
        self.readable, self.opened = readable, []

    def InferenceSession(self, model, options, providers, disabled_optimizers=()):  # noqa: N802
        given = dict(providers)
        names = [name for name in PROVIDERS if PROVIDERS[name] in given]
        self.opened.append(names[0])
        self.sessions.append((names[0], model, options.fixed, given[PROVIDERS[names[0]]]))
        if not self.readable:
            raise RuntimeError("Protobuf parsing failed")
        for name in names:
            if name in self.refused:
                raise RuntimeError(f"{name}: engine cannot be built\nmore")
        kept = [PROVIDERS[name] for name in names if name not in self.dropped]
        return Session(kept or [PROVIDERS["cpu"]], self)


class Session:
    def __init__(self, providers, runtime):
        self.providers, self.runtime = providers, runtime

    def get_providers(self):
        return self.providers

    def get_inputs(self):
        return [SimpleNamespace(name="frame", shape=["batch", 1, "height", "width"])]

    def run(self, outputs, feeds):
        first = next(name for name in PROVIDERS if PROVIDERS[name] == self.providers[0])
        if first in self.runtime.breaking:
            raise RuntimeError(f"{first} failed: out of memory\nstack")
        return [first]


@pytest.fixture
def opened(monkeypatch):
    """Open a session on a double, with what it told of falls."""

    def opened(names=ALL, required=0, tuning=FP32, model=b"", every=True, **faults):
        runtime, told = Runtime(**faults), []
        monkeypatch.setattr(opening, "onnxruntime", runtime)
        runtime.__version__ = "1"
        machine = Machine(cuda=lambda: GPU, load=lambda path: None, stream=lambda index: 77)
        choice = Choice(names, (), 0, required, every)
        session = FallingSession(model, choice, machine=machine, told=told.append, tuning=tuning)
        return session, runtime, told

    return opened


def test_the_first_that_starts_is_used(opened):
    session, runtime, _ = opened()
    assert session.providers[0] == "tensorrt"
    assert runtime.opened == ["tensorrt"]
    assert session.run(IMAGE, WANTED) == ["tensorrt"]


def test_one_that_is_left_out_without_a_word_is_passed_over_by_name(opened, caplog):
    session, _, _ = opened(dropped=("tensorrt",))
    assert session.providers[0] == "cuda"
    assert [passed.name for passed in session.passed_over] == ["tensorrt"]
    assert "provider passed over: tensorrt: did not start" in caplog.text


def test_one_that_cannot_be_opened_is_passed_over_with_its_own_words(opened):
    session, _, _ = opened(refused=("tensorrt",))
    assert session.providers[0] == "cuda"
    (passed,) = session.passed_over
    assert passed == PassedOver(
        "tensorrt", "did not start (tensorrt: engine cannot be built)", passed.mend
    )


def test_a_required_one_that_does_not_start_is_an_error(opened):
    with pytest.raises(ProviderError, match=r"'tensorrt' did not start .*engine cannot be built"):
        opened(required=1, refused=("tensorrt",))
    with pytest.raises(ProviderError, match="'cuda' did not start"):
        opened(required=2, dropped=("cuda",))


def test_of_those_of_which_any_will_do_the_last_is_an_error(opened):
    """As for a device that was named, where TensorRT's libraries are often missing."""
    session, _, _ = opened(required=2, every=False, dropped=("tensorrt",))
    assert session.providers[0] == "cuda"
    assert [passed.name for passed in session.passed_over] == ["tensorrt"]
    for faults in ({"dropped": ("tensorrt", "cuda")}, {"refused": ("tensorrt", "cuda")}):
        with pytest.raises(ProviderError, match="'cuda' did not start"):
            opened(required=2, every=False, **faults)


def test_what_the_cpu_cannot_read_is_the_models_fault(opened):
    for names in (ALL, ("cpu",)):
        with pytest.raises(UnreadableModelError, match="Protobuf parsing failed"):
            opened(names, readable=False)


@pytest.mark.expects_errors
def test_a_frame_whose_provider_fails_runs_on_the_next(opened, caplog):
    session, _, told = opened(breaking=("tensorrt", "cuda"))
    assert session.run(IMAGE, WANTED) == ["cpu"]
    assert [(f.before, f.after) for f in told] == [("tensorrt", "cuda"), ("cuda", "cpu")]
    assert session.falls == tuple(told)
    assert told[0].reason == "tensorrt failed: out of memory"
    assert "frames go on with cuda" in caplog.text
    session.run(IMAGE, WANTED)
    assert len(told) == 2


def test_several_frames_that_fail_together_cost_no_provider(opened):
    session, _, told = opened(breaking=("tensorrt",))
    with pytest.raises(BatchError, match="tensorrt failed: out of memory"):
        session.run(np.zeros((2, 1, 16, 16), np.float32), {"heat": (2, 1, 4, 4)})
    assert session.providers[0] == "tensorrt"
    assert told == []


def test_what_fails_on_the_cpu_too_is_raised(opened):
    session, _, told = opened(("cpu",), breaking=("cpu",))
    with pytest.raises(RuntimeError, match="cpu failed"):
        session.run(IMAGE, WANTED)
    assert told == []


@pytest.mark.expects_errors
def test_many_threads_that_meet_the_same_failure_fall_once(opened):
    session, runtime, told = opened()
    together = threading.Barrier(8)

    def frame(_):
        together.wait(timeout=30)
        return session.run(IMAGE, WANTED)

    runtime.breaking.add("tensorrt")
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(frame, range(8)))
    assert seen == [["cuda"]] * 8
    assert [(f.before, f.after) for f in told] == [("tensorrt", "cuda")]


@pytest.fixture
def engines(tmp_path):
    return Tuning("fp32", engines=tmp_path)


def test_tensorrt_gets_a_session_for_each_of_the_first_shapes(opened, engines):
    session, runtime, _ = opened(tuning=engines)
    shapes = [(16, 16 + 2 * k) for k in range(MOST_SHAPES + 2)]
    for rows, columns in shapes * 2:
        session.run(np.zeros((1, 1, rows, columns), np.float32), WANTED)
    first, *fixed, others = runtime.sessions
    assert (first[0], first[2]) == ("tensorrt", {})
    assert [(name, tuple(sides.values())) for name, _, sides, _ in fixed] == [
        ("tensorrt", shape) for shape in shapes[:MOST_SHAPES]
    ]
    assert (others[0], others[2]) == ("cuda", {})
    folders = {options["trt_engine_cache_path"] for *_, options in fixed}
    assert len(folders) == MOST_SHAPES
    assert fixed[0][3]["trt_profile_max_shapes"] == "frame:1x1x16x16"


def test_cuda_gets_a_session_for_each_of_the_first_shapes_and_numbers(opened):
    """It plans its convolutions anew where a session sees another than in the run before."""
    session, runtime, _ = opened(("cuda", "cpu"), tuning=FP32)
    given = [(number, 16 + 2 * k) for number in (1, 3) for k in range(MOST_SHAPES // 2 + 1)]
    for number, side in given * 2:
        session.run(np.zeros((number, 1, side, 16), np.float32), WANTED)
    first, *fixed = runtime.sessions
    assert (first[0], first[2]) == ("cuda", {})
    assert [(sizes["batch"], sizes["height"]) for _, _, sizes, _ in fixed] == given[:MOST_SHAPES]


def test_runs_that_are_recorded_have_a_session_of_their_own(opened):
    session, runtime, _ = opened(("cuda", "cpu"), tuning=FP32)
    assert session.recordable
    assert session.lasting(4, (16, 32), 99) is not session.lasting(4, (16, 32), 99)
    *_, options = runtime.sessions[-1]
    assert runtime.sessions[-1][2] == {"batch": 4, "height": 16, "width": 32}
    assert options["user_compute_stream"] == "99"
    graphs = replace(FP32, cuda_graph=True)
    for names, tuning in ((("cpu",), FP32), (ALL, FP32), (("cuda",), graphs)):
        other, *_ = opened(names, tuning=tuning)
        assert not other.recordable
        assert other.lasting(4, (16, 32), 99) is None


def test_a_folder_that_cannot_be_written_keeps_no_engines(opened, tmp_path, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    _, runtime, _ = opened(tuning=Tuning("fp32", engines=blocked))
    assert "trt_engine_cache_path" not in runtime.sessions[0][3]
    assert "engines are not kept" in caplog.text


def test_half_precision_goes_to_the_gpu_alone(opened, engines):
    pytest.importorskip("onnx")
    model = ZOO_MODEL.read_bytes()
    for names, given, precision in (
        (ALL, "auto", "fp16"),
        (("cuda", "cpu"), "auto", "fp16"),
        (("cpu",), "auto", "fp32"),
        (("cuda", "cpu"), "fp32", "fp32"),
        (("cpu",), "fp16", "fp16"),
    ):
        session, runtime, _ = opened(names, tuning=replace(engines, precision=given), model=model)
        assert session.precision == precision
        first, content, _, options = runtime.sessions[0]
        # TensorRT brings a model to 16 bits by itself
        assert (content == model) == (precision == "fp32" or first == "tensorrt")
        if first != "cpu":
            assert options["user_compute_stream"] == "77"


@pytest.mark.expects_errors
def test_brain_floats_are_openvinos_and_end_with_it(opened, monkeypatch):
    monkeypatch.setattr(sessions, "why_no_brain_floats", lambda: "")
    names = ("openvino", "cpu")
    session, runtime, told = opened(names, tuning=Tuning("bf16"), breaking=names[:1])
    assert session.precision == "bf16"
    assert "bf16" in runtime.sessions[0][3]["load_config"]
    assert session.run(IMAGE, WANTED) == ["cpu"]
    assert session.precision == "fp32"
    assert [(fall.before, fall.after) for fall in told] == [("openvino", "cpu")]


@pytest.mark.parametrize("names", [("cpu",), ("cuda", "cpu")])
def test_brain_floats_that_nothing_computes_in_are_an_error(opened, names):
    with pytest.raises(ProviderError, match=r"by provider openvino alone.*openvino extra"):
        opened(names, tuning=Tuning("bf16"))


def test_brain_floats_that_the_processor_lacks_are_an_error(opened, monkeypatch):
    monkeypatch.setattr(sessions, "why_no_brain_floats", lambda: "it has none")
    with pytest.raises(ProviderError, match="precision bf16: it has none: use precision auto"):
        opened(("openvino", "cpu"), tuning=Tuning("bf16"))


@pytest.mark.expects_errors
def test_a_gpu_that_fails_in_16_bits_leaves_the_host_in_32(opened):
    pytest.importorskip("onnx")
    model = ZOO_MODEL.read_bytes()
    session, runtime, _ = opened(("cuda", "cpu"), tuning=Tuning(), model=model, breaking=("cuda",))
    assert session.run(IMAGE, WANTED) == ["cpu"]
    assert session.precision == "fp32"
    assert runtime.sessions[-1][1] == model


def test_a_model_that_cannot_be_halved_runs_as_it_is_unless_asked_for(opened, caplog):
    session, _, _ = opened(("cuda", "cpu"), tuning=Tuning(), model=b"none of ONNX")
    assert session.precision == "fp32"
    assert [passed.name for passed in session.passed_over] == ["fp16"]
    assert "provider passed over: fp16: cannot be made of this model" in caplog.text
    with pytest.raises(ProviderError, match="precision fp16: cannot be made"):
        opened(("cuda", "cpu"), tuning=Tuning("fp16"), model=b"none of ONNX")


@pytest.mark.expects_errors
def test_cuda_graphs_that_fail_cost_no_provider(opened):
    graphs = Tuning("fp32", cuda_graph=True)
    session, runtime, told = opened(("cuda", "cpu"), tuning=graphs, breaking=("cuda",))
    runtime.breaking = Once("cuda")
    assert session.run(IMAGE, WANTED) == ["cuda"]
    assert [(f.before, f.after) for f in told] == [("cuda with CUDA graphs", "cuda")]
    with_graphs, without = runtime.sessions[1], runtime.sessions[-1]
    assert with_graphs[3]["enable_cuda_graph"] == "1"
    assert "enable_cuda_graph" not in without[3]


class Once(set):
    """Providers that fail once."""

    def __init__(self, *names):
        super().__init__(names)

    def __contains__(self, name):
        there = super().__contains__(name)
        self.discard(name)
        return there


class Bound:
    """A real session of ONNX Runtime on the CPU that takes itself for one on CUDA.

    Device memory is the host's here (`device_double`), so that what is bound by address is real.
    """

    def __init__(self, session):
        self.session, self.asked, self.bindings = session, [], 0

    def get_providers(self):
        return [PROVIDERS["cuda"]]

    def get_inputs(self):
        return self.session.get_inputs()

    def run(self, outputs, feeds):
        return self.session.run(outputs, feeds)

    def io_binding(self):
        binding = self.session.io_binding()
        self.bindings += 1

        def on_host(bind):
            def bound(name, kind, index, *rest):
                assert (kind, index) == ("cuda", 0)
                bind(name, "cpu", 0, *rest)

            return bound

        real_input, real_output = on_host(binding.bind_input), on_host(binding.bind_output)
        return SimpleNamespace(binding=binding, bind_input=real_input, bind_output=real_output)

    def run_with_iobinding(self, bound, options):
        self.asked.append((asked(options, UNSYNCHRONISED), asked(options, "gpu_graph_id")))
        self.session.run_with_iobinding(bound.binding)


UNSYNCHRONISED = "disable_synchronize_execution_providers"


def asked(options, name):
    try:
        return options.get_run_config_entry(name)
    except RuntimeError:
        return None  # it was not


def real():
    return onnxruntime.InferenceSession(ZOO_MODEL.read_bytes(), providers=["CPUExecutionProvider"])


def on_double(session, monkeypatch, site=None, tuning=FP32):
    """Take a session for what is opened, whatever it is opened for."""
    monkeypatch.setattr(Source, "open", lambda self, names, form=None: session)
    return Opened(Source(b"", site=site or Site(), tuning=tuning), ["cuda"])


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("shared", [True, False])
def test_frames_on_the_device_are_read_where_they_lie(device_double, monkeypatch, number, shared):
    image = np.random.default_rng(7).normal(size=(number, 1, 48, 64)).astype(np.float32)
    shapes = {"heat": (number, 1, 24, 32), "offset": (number, 2, 24, 32)}
    with arrays.device(0):
        address = arrays.stream_address()
        stream = device_double.cupy.cuda.get_current_stream()
        site = Site(stream=address if shared else 0)
        session = Bound(real())
        above = device_double.cupy.asarray(image)
        device_double.traffic.__init__()
        results = on_double(session, monkeypatch, site).run(above, shapes)
    assert address != 0
    assert (device_double.traffic.up, device_double.traffic.down) == (0, 0)
    # on one stream nobody waits, before or after
    assert stream.waited == (0 if shared else 1)
    assert session.asked == [("1" if shared else None, None)]
    for result, expected in zip(results, real().run(list(shapes), {"frame": image}), strict=True):
        np.testing.assert_array_equal(result.get(), expected)


def test_frames_of_another_stream_are_waited_for(device_double, monkeypatch):
    session = Bound(real())
    above = device_double.cupy.asarray(np.ones((1, 1, 48, 64), np.float32))
    stream = device_double.cupy.cuda.Stream()
    with stream:
        on_double(session, monkeypatch, Site(stream=12345)).run(above, {"heat": (1, 1, 24, 32)})
    assert stream.waited == 1
    assert session.asked == [(None, None)]


def test_a_frame_on_the_device_comes_down_for_a_provider_on_the_host(device_double, monkeypatch):
    image = np.random.default_rng(8).normal(size=(1, 1, 48, 64)).astype(np.float32)
    above = device_double.cupy.asarray(image)
    results = on_double(real(), monkeypatch).run(above, {"heat": (1, 1, 24, 32)})
    np.testing.assert_array_equal(results[0].get(), real().run(["heat"], {"frame": image})[0])


def test_a_graph_keeps_its_buffers_and_gives_results_away(device_double, monkeypatch):
    """Each choice of outputs is bound once under its own number; what was given out stays."""
    session = Bound(real())
    opened = on_double(session, monkeypatch, tuning=replace(FP32, cuda_graph=True))
    rng, given, expected = np.random.default_rng(9), [], []
    heat, offset = {"heat": (1, 1, 24, 32)}, {"offset": (1, 2, 24, 32)}
    for wanted in (heat, {**heat, **offset}, heat, offset, {**heat, **offset}):
        image = rng.normal(size=(1, 1, 48, 64)).astype(np.float32)
        given += opened.run(device_double.cupy.asarray(image), wanted)
        expected += real().run(list(wanted), {"frame": image})
    opened.run(device_double.cupy.asarray(np.zeros((2, 1, 48, 64), np.float32)),
               {"heat": (2, 1, 24, 32)})  # fmt: skip
    assert [graph for _, graph in session.asked] == ["1", "2", "1", "-1", "2", None]
    assert session.bindings == 4
    for ours, theirs in zip(given, expected, strict=True):
        np.testing.assert_array_equal(ours.get(), theirs)


def test_nothing_of_a_fixed_shape_is_computed_on_the_host(tmp_path):
    """A CUDA graph wants all of the work on the GPU: what looks at a shape must be gone."""
    onnx = pytest.importorskip("onnx")
    options = onnxruntime.SessionOptions()
    for name, size in (("batch", 1), ("height", 64), ("width", 96)):
        options.add_free_dimension_override_by_name(name, size)
    # what follows is the host's own layout of convolutions
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "fixed.onnx")
    onnxruntime.InferenceSession(
        ZOO_MODEL.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    kinds = {node.op_type for node in onnx.load(tmp_path / "fixed.onnx").graph.node}
    assert not kinds & {"Shape", "Squeeze", "Div", "Reshape"}, kinds


def test_a_network_that_cannot_be_rewritten_is_told_of_once(opened, caplog):
    session, runtime, told = opened(names=("cuda", "cpu"), model=b"\x07no model")
    for number in (1, 2):
        assert session.lasting(number, (16, 16), 77, ("heat",)) is not None
    assert [model for *_, model, _, _ in runtime.sessions] == [b"\x07no model"] * 3
    (fall,) = told
    assert session.falls == (fall,)
    assert (fall.before, fall.after) == (sessions.REWRITTEN, "the network as its file has it")
    assert fall.reason.startswith("cannot be made of this model (")
    assert caplog.text.count("which is slower") == 1
