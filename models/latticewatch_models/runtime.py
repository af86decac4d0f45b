"""The segmenter at work: an ONNX file in ONNX Runtime, frames in, heat map and offsets out.

No torch here. A `Segmenter` may be shared by threads: ONNX Runtime's sessions allow concurrent
runs, and nothing else is kept between calls.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from latticewatch_kernels.arrays import array_module, first_line, stream_address
from latticewatch_kernels.lattice import Array
from latticewatch_models.beside import Beside, UnrecordableError
from latticewatch_models.card import ModelCard, ModelError
from latticewatch_models.devices import Device
from latticewatch_models.providers import (
    ON_CUDA,
    TORCH_CUDA,
    Machine,
    PassedOver,
    ProviderError,
    choose,
)
from latticewatch_models.segmentation import RanOn, Segmentation
from latticewatch_models.sessions import BatchError, Fall, FallingSession, UnreadableModelError
from latticewatch_models.tuning import Tuning

if TYPE_CHECKING:
    from latticewatch_models.torch_session import TorchSession

__all__ = [
    "BatchError", "Fall", "ModelCard", "ModelError", "PassedOver", "ProviderError", "Segmenter",
]  # fmt: skip

logger = logging.getLogger(__name__)

#: Outputs that every model has, and those of the ones that mark atomic columns as well.
OUTPUTS = ("heat", "offset")
COLUMN_OUTPUTS = ("column_heat", "column_offset")

#: The model that ships with the package.
ZOO_MODEL = Path(__file__).parent / "zoo" / "defects.onnx"

#: Note of a model file that holds other weights than the trained ones; see `variants`.
_VARIANT = "variant"
_FORMATS = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}

#: Smallest side of a frame: one cell of the network's coarsest level.
SMALLEST_SIDE = 16


class Segmenter:
    """A segmenter ready to run.

    Parameters
    ----------
    path
        ONNX file written by `latticewatch_models.export`; none takes the shipped model.
    providers
        ``"auto"`` takes the fastest that the device has, in the order of `providers.PROVIDERS`; a
        name, or a sequence of names in order of preference, must be there in full.
    threads
        CPU threads of one frame; 0 leaves it to ONNX Runtime (one a core). Give 1 where frames are
        already spread over worker threads.
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    backend
        ``onnxruntime``, or ``torch`` for the same weights run by torch (the ``train`` extra), whose
        providers are its own.
    told
        Called when a provider fails while it runs and another takes its place, from the thread
        whose frame met it; that frame is run again.
    tuning
        Precision (by default 16-bit floats on a GPU and 32-bit on the host), and what else a GPU is
        given.

    Raises
    ------
    ModelError
        For a file that is missing, damaged or not a segmenter.
    DeviceError
        For a text that names no device.
    ProviderError
        For a provider or device that was asked for and is not to be had.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        providers: str | Sequence[str] = "auto",
        threads: int = 0,
        device: str | Device = "auto",
        told: Callable[[Fall], None] = lambda _: None,
        backend: str = "onnxruntime",
        tuning: Tuning | None = None,
    ) -> None:
        file = Path(path) if path is not None else ZOO_MODEL
        where = Device.parse(device) if isinstance(device, str) else device
        self.device, run_by_torch = where, backend == "torch"
        try:
            self._session: FallingSession | TorchSession
            if run_by_torch:
                self._session = _by_torch(_content(file), where, told, tuning)
            else:
                choice = choose(where, providers, Machine())
                model = _content(file)
                self._session = FallingSession(model, choice, threads, told=told, tuning=tuning)
        except UnreadableModelError as error:
            raise ModelError(
                f"{file}: not a readable ONNX model ({error}): train it or install the package "
                "again"
            ) from error
        self.card = ModelCard.from_metadata(self._session.metadata, str(file))
        for passed in self._session.passed_over:
            logger.info("provider passed over: %s", passed)
        if not self.card.trained:
            logger.warning("%s is untrained: its detections mean nothing", self.card.path)

    @property
    def providers(self) -> tuple[str, ...]:
        """Providers in use now, the one that counts first."""
        return self._session.providers

    @property
    def passed_over(self) -> tuple[PassedOver, ...]:
        """Faster providers that are not in use, and why."""
        return self._session.passed_over

    @property
    def falls(self) -> tuple[Fall, ...]:
        """Providers that failed while they ran."""
        return self._session.falls

    @property
    def precision(self) -> str:
        """``fp16``, ``bf16`` or ``fp32``: what the network is computed in now."""
        return self._session.precision

    @property
    def ran_on(self) -> RanOn:
        """What the next frame is run on."""
        provider = self.providers[0]
        on_gpu = provider in (*ON_CUDA, TORCH_CUDA)
        device = f"cuda:{self.device.index}" if on_gpu else "host"
        return RanOn(provider, device, self._format)

    @property
    def _format(self) -> str:
        return self.card.notes.get(_VARIANT, _FORMATS[self.precision])

    @property
    def stride(self) -> int:
        """Pixels along a side of a cell of the outputs."""
        return self.card.stride

    @property
    def lattice_constant_px(self) -> float:
        """Lattice constant, in pixels, of the scale that the model was trained at."""
        return self.card.lattice_constant_px

    def segment(self, image: Array, *, columns: bool = False) -> Segmentation:
        """Run the network on one frame.

        Parameters
        ----------
        image
            Conditioned frame, shape (H, W) with any H and W of at least 16, at the model's scale;
            on a GPU it is read where it lies.
        columns
            Whether to tell atomic columns too, where the model marks them (`ModelCard.columns`).

        Returns
        -------
        Segmentation
            Heat map and offsets, shapes (h, w) and (2, h, w) with h = ceil(H / stride).
        """
        return self.segment_all([image], columns=columns)[0]

    def segment_all(
        self, images: Sequence[Array], *, columns: bool = False
    ) -> tuple[Segmentation, ...]:
        """Run the network once on several frames.

        The results are those of `segment` to rounding: on the CPU to 1e-6 in probability and 1e-5
        px in offsets, and mostly to the last bit.

        Parameters
        ----------
        images
            Frames as for `segment`, one at least, of the same shape and on the same device.
        columns
            As for `segment`.

        Returns
        -------
        tuple of Segmentation
            One for each frame.

        Raises
        ------
        BatchError
            The provider failed on several frames; each may be run by itself.
        """
        shape = images[0].shape
        check_size(shape)
        padded = self.padded(images)
        wanted = OUTPUTS + COLUMN_OUTPUTS if columns and self.card.columns else OUTPUTS
        outputs, ran_on = self._run(padded, self._parts(padded.shape, wanted))
        return tuple(
            Segmentation(heat[0], offset, self.stride, shape, *_columns(marked), ran_on)
            for heat, offset, *marked in zip(*outputs, strict=True)
        )

    @property
    def recordable(self) -> bool:
        """Whether `beside` gives anything now."""
        return self._session.recordable

    def beside(self, number: int, shape: tuple[int, int]) -> Beside | None:
        """Make a run on frames like these that can be recorded on the current stream.

        Parameters
        ----------
        number
            Frames of a run.
        shape
            Rows and columns of each.

        Returns
        -------
        Beside
            Takes frames as `padded` gives them. None where the provider cannot be recorded.

        Raises
        ------
        UnrecordableError
            The session for it cannot be opened.
        """
        check_size(shape)
        session = self._session
        if isinstance(session, FallingSession) and session.recordable:
            sides = self._sides(shape)
            given = (number, 1, *sides)
            outputs = {n: (number, *part) for n, part in self._parts(given, OUTPUTS).items()}
            ran_on = self.ran_on
            try:
                opened = session.lasting(number, sides, stream_address(), OUTPUTS)
            except Exception as error:
                raise UnrecordableError(
                    f"no session for recorded runs: {first_line(error)}"
                ) from error
            if opened is not None:
                return Beside.of(opened, given, outputs, ran_on, self.device.index)
        return None

    def _sides(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns that a frame is brought to for the network."""
        rows, columns = (side + -side % self.stride for side in shape)
        return rows, columns

    def _parts(self, shape: tuple[int, ...], names: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """Shapes of a frame's outputs, of frames (n, 1, H, W)."""
        cells = tuple(side // self.stride for side in shape[2:])
        return {name: (1 + name.endswith("offset"), *cells) for name in names}

    def _run(
        self, frames: Array, parts: Mapping[str, tuple[int, ...]]
    ) -> tuple[list[Array], RanOn]:
        """Run once, and tell on what: again where a provider fell meanwhile.

        Providers fall and never come back, so that one which is the same before and after was the
        same throughout.
        """
        while True:
            before = self.ran_on
            outputs = self._run_as_it_is(frames, parts)
            if self.ran_on == before:
                return outputs, before

    def _run_as_it_is(self, frames: Array, parts: Mapping[str, tuple[int, ...]]) -> list[Array]:
        number = len(frames)
        if self._session.batches:
            return self._session.run(frames, {n: (number, *part) for n, part in parts.items()})
        # a file from before there were batches
        alone = {name: (1, *part) for name, part in parts.items()}
        each = [self._session.run(frames[k : k + 1], alone) for k in range(number)]
        return [array_module(frames).concatenate(maps) for maps in zip(*each, strict=True)]

    def padded(self, images: Sequence[Array]) -> Array:
        """Stack frames as the network's input (n, 1, H, W), sides multiples of the stride.

        Three pixels at most are added, each a copy of the last. A mirrored edge is a twin boundary
        to the network: even two mirrored rows and columns brought two false defects a frame.
        """
        xp = array_module(images[0])
        given = [image.astype(xp.float32, copy=False) for image in images]
        stacked = xp.stack(given) if len(given) > 1 else given[0][None]
        shape = stacked.shape[1:]
        sides = self._sides(shape)
        if sides != shape:
            more = ((0, after - before) for before, after in zip(shape, sides, strict=True))
            stacked = xp.pad(stacked, ((0, 0), *more), mode="edge")
        return xp.ascontiguousarray(stacked)[:, None]


def check_size(shape: tuple[int, ...]) -> None:
    """Raise ValueError for a frame that is smaller than a cell of the coarsest level."""
    if min(shape) < SMALLEST_SIDE:
        raise ValueError(
            f"frame of {shape[0]} x {shape[1]} is smaller than {SMALLEST_SIDE} px: "
            "give a larger field of view or a finer pixel"
        )


def _columns(maps: Sequence[Array]) -> tuple[Array | None, Array | None]:
    """Heat map and offsets of atomic columns, where there are any."""
    return (maps[0][0], maps[1]) if maps else (None, None)


def _by_torch(
    model: bytes, device: Device, told: Callable[[Fall], None], tuning: Tuning | None
) -> TorchSession:
    try:
        from latticewatch_models.torch_session import TorchSession
    except ModuleNotFoundError as error:
        raise ProviderError(
            f"backend torch needs {error.name}, which is not installed: install the train extra, "
            "or use backend onnxruntime"
        ) from error
    return TorchSession(model, device, told, (tuning or Tuning()).precision)


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise ModelError(
            f"{path}: no such model: give the path of a file written by 'latticewatch train', "
            "or leave it out for the shipped model"
        )
    return path.read_bytes()
