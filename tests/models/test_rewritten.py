"""The network as it is rewritten for CUDA: what it computes, what is found, and what is left alone.

There is no GPU here. That nothing is turned to and fro there is held by a stand-in for a provider
whose convolutions have their channels last.
"""

import builtins
import sys
from collections import Counter

import numpy as np
import onnxruntime
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from latticewatch_models import halves, packing  # noqa: E402
from latticewatch_models.graphs import Convolution, Graph  # noqa: E402
from latticewatch_models.halves import NoHalfError, half  # noqa: E402
from latticewatch_models.opened import DISABLED, Source  # noqa: E402
from latticewatch_models.rewritten import PASSES, rewritten  # noqa: E402
from latticewatch_models.runtime import COLUMN_OUTPUTS, OUTPUTS, ZOO_MODEL  # noqa: E402
from latticewatch_models.tuning import Form  # noqa: E402

MODEL = ZOO_MODEL.read_bytes()

#: Bounds that 16-bit floats keep to (`docs/segmenter.md` has 3e-3 px and 3e-3 for real frames, and
#: these are noise alone): probability, and pixels.
HALF = {"heat": 5e-3, "offset": 3e-2}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Pack what is small too."""
    monkeypatch.setattr(packing, "LEAST_PIXELS", 16)


def sizes(number, rows, columns):
    return {"batch": number, "height": rows, "width": columns}


def computed(content, frames, outputs, fixed=None):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    for name, size in (fixed or {}).items():
        options.add_free_dimension_override_by_name(name, size)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(list(outputs), {"frame": frames})


def noise(*shape):
    return np.random.default_rng(4).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("packs", [False, True])
@pytest.mark.parametrize("outputs", [OUTPUTS, OUTPUTS + COLUMN_OUTPUTS])
@pytest.mark.parametrize(
    ("number", "rows", "columns"),
    [(1, 64, 96), (3, 64, 64), (2, 72, 40), (2, 64, 44), (1, 66, 50), (1, 18, 16), (1, 30, 62)],
)
def test_it_computes_what_it_did(number, rows, columns, outputs, packs):
    fixed, frames = sizes(number, rows, columns), noise(number, 1, rows, columns)
    changed, _ = rewritten(MODEL, fixed, outputs, packs=packs)
    expected = computed(MODEL, frames, outputs)
    session = onnxruntime.InferenceSession(changed, providers=["CPUExecutionProvider"])
    assert {output.name for output in session.get_outputs()} == set(outputs)
    for ours, theirs in zip(computed(changed, frames, outputs, fixed), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    for name, ours, theirs in zip(
        outputs, computed(half(changed), frames, outputs, fixed), expected, strict=True
    ):
        bound = HALF[name.removeprefix("column_")]
        np.testing.assert_allclose(ours, theirs, atol=bound, err_msg=name)


@pytest.mark.parametrize(
    ("sides", "found"),
    [
        # at half the resolution the stem, five of 3x3 and the last; at a quarter five; two below:
        # no step by two to the next level, which is no even one, and no lateral to 64 channels
        ((64, 128), {"slices": 4, "upsampled": 2, "packed": 14}),
        # 66 is twice 33, and what is upsampled from 17 is cut
        ((66, 50), {"slices": 0, "upsampled": 2, "packed": 0, "planes": 1}),
    ],
)
def test_the_shipped_model_has_what_is_looked_for(sides, found):
    """A new model that misses one is slower on a GPU: see what it has in its place."""
    _, seen = rewritten(MODEL, sizes(2, *sides), OUTPUTS, packs=True)
    assert set(seen) == {"outputs", *PASSES}
    assert dict(seen) == {"outputs": 1, "bounds": 1, "parts": 1, "planes": seen["planes"], **found}


def test_few_pixels_are_packed_where_the_sums_grow_shorter(monkeypatch):
    """As of the first convolution, whose one channel would be made up to eight."""
    monkeypatch.undo()
    for number, most in ((1, 1), (16, 12)):
        _, found = rewritten(MODEL, sizes(number, 512, 512), OUTPUTS, packs=True)
        assert found["packed"] == most
    packed, _ = rewritten(MODEL, sizes(1, 512, 512), OUTPUTS, packs=True)
    shapes = {tuple(tensor.dims) for tensor in onnx.load_from_string(packed).graph.initializer}
    assert (32, 4, 6, 3) in shapes


def turned(model):
    """Put transpositions around each convolution, and what no optimiser looks into in its place."""
    graph, known = Graph(model), []
    for node in graph.nodes("Conv"):
        (number, channels, *before), (_, made, *after) = (
            graph.shape(name) for name in (node.input[0], node.output[0])
        )
        end = graph.add("Transpose", [node.input[0]], (), perm=[0, 2, 3, 1])
        for axis, (size, kept) in enumerate(zip(before, after, strict=True), 1):
            chosen = graph.hold(np.arange(size) < kept)
            end = graph.add("Compress", [end, chosen], (), axis=axis)
        end = graph.add("MatMul", [end, graph.hold(np.ones((channels, made), np.float32))], ())
        shape = [number, *after, made]
        known.append(helper.make_tensor_value_info(end, TensorProto.FLOAT, shape))
        graph.replace(node.output[0], graph.add("Transpose", [end], (), perm=[0, 3, 1, 2]))
    changed = graph.done()
    changed.graph.value_info.extend(known)
    return changed


def optimised(content, path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(
        content, options, providers=["CPUExecutionProvider"], disabled_optimizers=DISABLED
    )
    return onnx.load(path)


@pytest.mark.parametrize("sides", [(64, 64), (66, 50), (68, 64)])
@pytest.mark.parametrize("packs", [False, True])
def test_nothing_is_turned_to_and_fro(tmp_path, sides, packs):
    changed, _ = rewritten(MODEL, sizes(2, *sides), OUTPUTS, packs=packs)
    laid = turned(optimised(changed, tmp_path / "first.onnx"))
    last = Graph(optimised(laid.SerializeToString(), tmp_path / "last.onnx"))
    kinds = Counter(node.op_type for node in last.proto.node)
    assert not kinds.keys() & {"Resize", "Shape", "Div"}
    assert kinds["MatMul"] == 18
    # that of the frame's noise, of one channel
    assert [last.shape(node.output[0])[:2] for node in last.nodes("Transpose")] == [(2, 1)]


def a_model(nodes, held, outputs=("out",)):
    """Build a model of one frame of two channels."""
    values = [helper.make_tensor_value_info("frame", TensorProto.FLOAT, ["batch", 2, 8, 8])]
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in held.items()]
    graph = helper.make_graph(nodes, "foreign", values, given, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model.SerializeToString()


WEIGHTS = np.random.default_rng(5).normal(size=(3, 2, 1, 1)).astype(np.float32)
CONV = helper.make_node("Conv", ["frame", "weights"], ["conv"], kernel_shape=[1, 1])
SCALES = np.asarray([1, 1, 2, 2], np.float32)
ONTO = np.ones((2, 3, 16, 16), np.float32)
HELD = {
    "weights": WEIGHTS, "scales": SCALES, "onto": ONTO, "row": np.ones((2, 3, 1, 16), np.float32),
    "none": np.asarray([0]), "one": np.asarray([1]), "two": np.asarray([2]),
    "three": np.asarray([3]), "axes": np.asarray([1]), "back": np.asarray([-1]),
    "all": np.asarray([-99]), "tiny": np.float32(1e-7), "low": np.float32(-3), "up": np.float32(0),
}  # fmt: skip


def resize(**said):
    floor = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor", **said}
    return helper.make_node("Resize", ["conv", "", "scales"], ["up2"], mode="nearest", **floor)


def node(kind, inputs, output="out", **said):
    return helper.make_node(kind, inputs.split(), [output], **said)


UNKNOWN = {
    "half pixels": [CONV, resize(coordinate_transformation_mode="half_pixel"),
                    node("Add", "up2 onto")],
    "rounded up": [CONV, resize(nearest_mode="ceil"), node("Add", "up2 onto")],
    "onto a row": [CONV, resize(), node("Add", "up2 row")],
    "onto itself": [CONV, resize(), node("Add", "up2 up2")],
    "multiplied": [CONV, resize(), node("Mul", "up2 onto")],
    "read twice": [CONV, resize(), node("Add", "up2 onto", "sum"), node("Mul", "sum up2")],
    "grouped": [helper.make_node("Conv", ["frame", "grouped"], ["conv"], group=2), resize(),
                node("Add", "up2 onto4")],
    "cut at the front": [CONV, resize(), node("Slice", "up2 one all_ends axes", "cut"),
                         node("Add", "cut cut3")],
    "every other": [CONV, resize(), node("Slice", "up2 none all_ends rows two", "cut"),
                    node("Add", "cut every")],
    "turned about": [CONV, node("Slice", "conv back all axes back")],
    "all channels": [CONV, node("Slice", "conv none one axes one", "a"), node("Neg", "conv", "b"),
                     node("Sub", "a b")],
    "two factors": [CONV, node("Slice", "conv none two axes one", "a"), node("Mul", "a low", "b"),
                    node("Slice", "conv one three axes one", "c"), node("Sub", "b c")],
    "tiny bounds": [node("Clip", "frame tiny", "a"), node("Log", "a", "b"),
                    node("Clip", "b low up", "c"), node("Mul", "c low", "d"),
                    node("Add", "d low")],
    "curved": [node("Clip", "frame tiny", "a"), node("Log", "a", "b"),
               node("Clip", "b low up", "c"), node("Mul", "c c")],
}  # fmt: skip


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_only_looks_alike_is_left_alone(name):
    held = {**HELD, "grouped": np.ones((4, 1, 1, 1), np.float32),
            "onto4": np.ones((2, 4, 16, 16), np.float32), "all_ends": np.asarray([99]),
            "cut3": np.ones((2, 2, 16, 16), np.float32), "rows": np.asarray([2]),
            "every": np.ones((2, 3, 8, 16), np.float32)}  # fmt: skip
    model = a_model(UNKNOWN[name], held)
    if name == "tiny bounds":  # the logarithm of what 16-bit floats cannot hold
        model = a_model(UNKNOWN[name], {**held, "low": np.float32(-15)})
    changed, found = rewritten(model, {"batch": 2})
    assert not any(found.values()), found
    assert changed is model


def test_parts_and_sums_of_a_foreign_model():
    """An upsampling by three, and channels that are scaled before and after they go apart."""
    nodes = [
        CONV, helper.make_node("Resize", ["conv", "", "scales"], ["up3"], mode="nearest",
                               coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        node("Add", "onto up3", "sum"),
        node("Conv", "frame weights", "again"), node("Mul", "low again", "scaled"),
        node("Slice", "scaled none one axes one", "a"), node("Mul", "a low", "first"),
        node("Slice", "scaled one three axes", "rest"),
    ]  # fmt: skip
    held = {**HELD, "scales": np.asarray([1, 1, 3, 3], np.float32),
            "onto": np.full((2, 3, 24, 24), 0.5, np.float32)}  # fmt: skip
    outputs = ("sum", "first", "rest")
    model = a_model(nodes, held, outputs)
    changed, found = rewritten(model, {"batch": 2})
    assert (found["upsampled"], found["parts"]) == (1, 1)
    frames = noise(2, 2, 8, 8)
    for ours, theirs in zip(
        computed(changed, frames, outputs), computed(model, frames, outputs), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize(("side", "left", "right"), [(3, 1, 1), (6, 2, 2), (1, 0, 0), (5, 0, 4)])
@pytest.mark.parametrize("together", [2, 4])
def test_packed_convolutions_give_the_same(step, side, left, right, together):
    rng = np.random.default_rng(step * side + together)
    weights = rng.normal(size=(3, 2, 2, side)).astype(np.float32)
    bias, columns = rng.normal(size=3).astype(np.float32), 8 * step
    right += max(0, (8 - 1) * step + side - left - right - columns)
    plain = Convolution(None, weights, bias, (2, step), (1, left, 0, right))
    frames = rng.normal(size=(2, 2, 9, columns)).astype(np.float32)
    expected = convolved(frames, plain)[..., :8]
    wide = np.moveaxis(frames, 1, -1).reshape(2, 9, columns // (together * step), -1)
    made = convolved(np.moveaxis(wide, -1, 1), packing.packed(plain, together))
    apart = np.moveaxis(made, 1, -1).reshape(2, made.shape[2], 8, 3)
    np.testing.assert_allclose(np.moveaxis(apart, -1, 1), expected, atol=1e-5)


def convolved(frames, convolution):
    above, left, below, right = convolution.pads
    padded = np.pad(frames, ((0, 0), (0, 0), (above, below), (left, right)))
    sides = convolution.weights.shape[2:]
    windows = np.lib.stride_tricks.sliding_window_view(padded, sides, axis=(2, 3))
    down, along = convolution.strides
    sums = np.einsum("nchwij,ocij->nohw", windows[:, :, ::down, ::along], convolution.weights)
    return sums + convolution.bias[:, None, None]


def asked_of_cuda(monkeypatch, form, model=MODEL, refused=lambda content: False, **source):
    """Contents that ONNX Runtime was asked to run on CUDA."""
    contents = []

    def session(content, *_, **__):
        contents.append(content)
        if refused(content):
            raise RuntimeError("no kernel for it")

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr("latticewatch_models.opened.bring_libraries", lambda: None)
    Source(model, **source).open(["cuda", "cpu"], form)
    return contents


RECORDED = Form((64, 64), number=2, lasting=True, outputs=OUTPUTS)


def test_cuda_gets_it_for_a_known_shape_and_no_other_provider_does(monkeypatch):
    small = half(MODEL)
    (changed,) = asked_of_cuda(monkeypatch, RECORDED, half=small)
    graph = onnx.load_from_string(changed).graph
    assert [output.name for output in graph.output] == list(OUTPUTS)
    assert not [each for each in graph.node if each.op_type in ("Resize", "Shape")]
    assert asked_of_cuda(monkeypatch, None, half=small) == [small]
    contents = []
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda c, *_, **__: contents.append(c))
    for names in (["cpu"], ["openvino", "cpu"], ["tensorrt", "cuda", "cpu"]):
        Source(MODEL, half=small).open(names, RECORDED)
    assert contents == [MODEL] * 3


def test_what_does_not_start_runs_as_its_file_has_it(monkeypatch):
    small, told = half(MODEL), list[str]()
    given = {"refused": lambda content: content != small, "half": small, "plain": told.append}
    assert asked_of_cuda(monkeypatch, RECORDED, **given)[1:] == [small]
    assert told == ["does not start (no kernel for it)"]


def without(monkeypatch, *missing):
    """Take packages away from whoever imports them from now on."""
    real = builtins.__import__

    def imported(name, *rest, **named):
        if name in missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", imported)


def test_without_onnx_it_runs_as_it_is_and_says_so(monkeypatch):
    told = list[str]()
    for name in ("rewritten", "graphs"):
        monkeypatch.delitem(sys.modules, f"latticewatch_models.{name}")
    without(monkeypatch, "onnx")
    assert asked_of_cuda(monkeypatch, RECORDED, plain=told.append) == [MODEL]
    assert told == ["needs onnx, which is not installed: install the cuda extra"]


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("onnx", "needs onnx, which is not installed: install the cuda extra"),
        ("onnxruntime.transformers.float16",
         "needs onnxruntime.transformers.float16, which is not installed: install the cuda extra"),
    ],
)  # fmt: skip
def test_what_is_missing_for_16_bit_floats_is_named(monkeypatch, missing, told):
    without(monkeypatch, missing)
    with pytest.raises(NoHalfError, match=told):
        half(MODEL)


def test_what_cannot_be_imported_for_16_bit_floats_is_named():
    why = halves._lacking(ImportError("cannot import name 'f'\nmore", name="onnx.mapping"))
    assert str(why) == (
        "fp16: needs onnx.mapping, which cannot be imported (cannot import name 'f'): "
        "install the cuda extra"
    )
    assert halves._lacking(ModuleNotFoundError(name="sympy")).mend == "install sympy"
