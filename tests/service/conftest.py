from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from latticewatch_models.runtime import ZOO_MODEL

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def blunt(tmp_path_factory) -> Path:
    """The shipped model's file, altered so that it sees nothing."""
    onnx = pytest.importorskip("onnx", reason="making a model file needs onnx")
    model = onnx.load(str(ZOO_MODEL))
    for node in model.graph.node:
        node.output[:] = ["sharp" if name == "heat" else name for name in node.output]
    nothing = onnx.numpy_helper.from_array(np.array(0.0, np.float32), "nothing")
    model.graph.initializer.append(nothing)
    model.graph.node.append(onnx.helper.make_node("Mul", ["sharp", "nothing"], ["heat"]))
    path = tmp_path_factory.mktemp("models") / "blunt.onnx"
    onnx.save(model, str(path))
    return path
