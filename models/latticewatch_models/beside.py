"""The network's run in a session, on a stream and in buffers of its own: to be recorded.

A graph reads and writes where the recorded run did, and ONNX Runtime's memory is the session's: one
that others run, too, would write over what a graph still needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from latticewatch_kernels.arrays import blank
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.launch import copy
from latticewatch_models.captures import bind, run_options
from latticewatch_models.segmentation import RanOn


class UnrecordableError(RuntimeError):
    """The network cannot be run so that it may be recorded."""


@dataclass(frozen=True, eq=False)
class Beside:
    """A run of the network on a fixed number of frames of one shape.

    Attributes
    ----------
    frames
        (n, 1, H, W), float32: what it reads.
    results
        What it fills, by the outputs' names: float32, (n, channels, h, w).
    ran_on
        What it runs on.
    """

    frames: Array
    results: Mapping[str, Array]
    ran_on: RanOn
    session: Any
    binding: Any

    @classmethod
    def of(
        cls,
        session: Any,
        shape: tuple[int, ...],
        outputs: Mapping[str, tuple[int, ...]],
        ran_on: RanOn,
        index: int,
    ) -> Beside:
        """Bind a session that works on the current stream to buffers on the current device.

        Parameters
        ----------
        session
            For frames of this shape alone.
        shape, outputs
            Of `frames` and `results`.
        ran_on
            What it runs on.
        index
            Number of the device.
        """
        frames = blank(shape)
        results = {name: blank(size) for name, size in outputs.items()}
        return cls(frames, results, ran_on, session, bind(session, frames, results, index))

    def place(self, which: int, shape: tuple[int, int]) -> Array | None:
        """Give what holds the n-th frame, for the one who makes it; None where it is larger."""
        return self.frames[which, 0] if self.frames.shape[2:] == shape else None

    def put(self, which: int, image: Array) -> None:
        """Ask for a copy of an image (H, W) as the n-th frame."""
        copy(self.frames[which], image)

    def run(self) -> None:
        """Ask the current stream, which must be the session's, for the run; nobody waits.

        Raises
        ------
        UnrecordableError
            ONNX Runtime cannot.
        """
        try:
            self.session.run_with_iobinding(self.binding, run_options(shared=True))
        except Exception as error:
            # ONNX Runtime's exceptions share no base class
            raise UnrecordableError(f"the network's run cannot be recorded: {error}") from error
