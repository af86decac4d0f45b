"""A model's weights and arithmetic in 16-bit floats, for GPUs; made when the model is loaded.

Inputs and outputs stay 32-bit, and what the file says of itself stays as it is.
"""

from __future__ import annotations

from latticewatch_kernels.arrays import first_line
from latticewatch_models.providers import PassedOver

#: Note of a model file whose weights are no longer those that were trained; see `variants`.
VARIANT_NOTE = "note.variant"

#: Packages that are needed for it, of the cuda extra.
_NEEDED = ("onnx", "onnxruntime")


class NoHalfError(RuntimeError):
    """A model cannot be brought to 16-bit floats; `why` says why not and what mends it."""

    def __init__(self, why: PassedOver) -> None:
        super().__init__(str(why))
        self.why = why


def half(model: bytes) -> bytes:
    """Convert an ONNX segmenter to 16-bit floats; a variant (int8, fp16) is given back as it is.

    Parameters
    ----------
    model
        Content of the file.

    Raises
    ------
    NoHalfError
        What is needed for it is not installed, or the converter does not know the model.
    """
    try:
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel
    except ImportError as error:
        raise NoHalfError(_lacking(error)) from error
    try:
        proto = onnx.load_from_string(model)
        if any(entry.key == VARIANT_NOTE for entry in proto.metadata_props):
            return model
        converted = OnnxModel(convert_float_to_float16(proto, keep_io_types=True))
        # the casts at inputs and outputs are put at the end of the list of nodes
        converted.topological_sort()
        content: bytes = converted.model.SerializeToString()
    except Exception as error:
        # the converter's and protobuf's exceptions share no base class
        reason = f"cannot be made of this model ({first_line(error)})"
        why = PassedOver("fp16", reason, "set precision to fp32")
        raise NoHalfError(why) from error
    return content


def _lacking(error: ImportError) -> PassedOver:
    """Say what a machine lacks that cannot make 16-bit floats."""
    name = error.name or "onnxruntime.transformers"
    reason = f"needs {name}, which is not installed"
    if not isinstance(error, ModuleNotFoundError):
        reason = f"needs {name}, which cannot be imported ({first_line(error)})"
    package = name.partition(".")[0]
    mend = "install the cuda extra" if package in _NEEDED else f"install {package}"
    return PassedOver("fp16", reason, mend)
