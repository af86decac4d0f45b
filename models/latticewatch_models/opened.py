"""A model opened on some providers, and run where its frames lie.

On the host one session serves every shape. TensorRT builds its engines, CUDA graphs are recorded,
and CUDA's convolutions are planned for one shape: there the first few shapes get a session each,
with that shape fixed in it. CUDA's are of the network as it is `rewritten` for that shape.
"""

from __future__ import annotations

import importlib.metadata
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnxruntime

from latticewatch_kernels.arrays import (
    array_module,
    first_line,
    on_device,
    stream_address,
    to_host,
    wait,
)
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.recording import undisturbed
from latticewatch_models.captures import Captures, Shapes, run_bound
from latticewatch_models.halves import half
from latticewatch_models.providers import ON_CUDA, PROVIDERS, bring_libraries
from latticewatch_models.tuning import (
    Form,
    Site,
    Tuning,
    default_engines,
    engine_folder,
    provider_options,
)

logger = logging.getLogger(__name__)

#: Shapes that get a session of their own: the streams of a microscope have one or two, but a frame
#: whose scale must be changed for the network may have any, and an engine takes minutes to build.
#: CUDA's provider plans its convolutions anew whenever a session sees another shape or number of
#: frames than in the run before, 0.1 s each time: 16 workers whose groups were of any size got 92
#: frames a second through one session, and 1,370 in groups of 16 (512 x 512, H200).
MOST_SHAPES = 8

#: Optimisers that are off where CUDA's provider takes part. This one makes one Split of several
#: Slices, and a Split into unequal parts needs a table that is copied up from page-locked memory.
#: Where nobody waits for a run, such tables are given back when the session ends, by a callback on
#: the stream that then holds the last share of their allocator: CUDA forbids to free memory there,
#: and the process is aborted (onnxruntime-gpu 1.31.1 on an H200; `docs/decisions/0028`).
DISABLED = ["GatherSliceToSplitFusion"]


@dataclass(frozen=True)
class Source:
    """What sessions are opened with.

    Attributes
    ----------
    model, half
        Content of the file, and of the same in 16-bit floats; none where that is not to be had.
    threads
        CPU threads of one run; 0 leaves it to ONNX Runtime.
    site, tuning
        Where and how on a GPU.
    plain
        Called with the reason why a network runs on a GPU as its file has it, and not `rewritten`.
    """

    model: bytes
    half: bytes | None = None
    threads: int = 0
    site: Site = field(default_factory=Site)
    tuning: Tuning = field(default_factory=Tuning)
    plain: Callable[[str], None] = field(default=lambda _: None, repr=False, compare=False)

    def halves(self, first: str) -> bool:
        """Whether a session whose first provider is this one computes in 16-bit floats.

        TensorRT brings the model to them by itself; others need it so.
        """
        wanted = self.tuning.halves(first)
        return wanted and (first == "tensorrt" or self.half is not None)

    def open(self, names: Sequence[str], form: Form | None = None) -> Any:
        """Session on the first of these providers that ONNX Runtime starts; ``half`` is seen to."""
        on_cuda = any(name in ON_CUDA for name in names)
        if on_cuda:
            bring_libraries()
        form = replace(form or Form(), half=self.halves(names[0]))
        if names[0] == "tensorrt":
            form = replace(form, engines=self._engines(form))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        for name, size in form.fixed.items():
            options.add_free_dimension_override_by_name(name, size)
        wanted = [
            (PROVIDERS[name], provider_options(name, self.site, form, self.tuning, self.threads))
            for name in names
        ]
        without = DISABLED if on_cuda else []

        def started(content: bytes) -> Any:
            return onnxruntime.InferenceSession(
                content, options, providers=wanted, disabled_optimizers=without
            )

        changed = self._rewritten(form) if names[0] == "cuda" and form.number else None
        if changed is not None:
            try:
                return started(changed)
            except Exception as error:  # noqa: BLE001  (they share no base class)
                self.plain(f"does not start ({first_line(error)})")
        small = self.half if form.half and names[0] != "tensorrt" else None
        return started(self.model if small is None else small)

    def _rewritten(self, form: Form) -> bytes | None:
        """Give the model as CUDA's provider is fastest at it; None, and why is told, if it is not.

        The host's results stay what they were to the last bit: it gets the model as it is.
        """
        try:
            from latticewatch_models.rewritten import rewritten

            changed, found = rewritten(self.model, form.fixed, form.outputs, packs=form.half)
            logger.info(
                "the network is rewritten for CUDA: %s",
                ", ".join(f"{name} {number}" for name, number in found.items()),
            )
            if changed is self.model:
                return None
            return half(changed) if form.half else changed
        except ModuleNotFoundError as error:
            reason = f"needs {error.name}, which is not installed: install the cuda extra"
        except Exception as error:  # noqa: BLE001  (onnx's and protobuf's share no base class)
            reason = f"cannot be made of this model ({first_line(error)})"
        self.plain(reason)
        return None

    def _engines(self, form: Form) -> str:
        """Folder of the engines of a form, made if need be; empty where it cannot be."""
        root = self.tuning.engines or default_engines()
        folder = engine_folder(root, self.model, self.site, form, self.tuning, _version())
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            logger.warning(
                "TensorRT's engines are not kept, and built at every start: %s: %s; set "
                "segmenter.engines to a folder that can be written", folder, error.strerror,
            )  # fmt: skip
            return ""
        return str(folder)


class Opened:
    """Sessions of one model on the same providers; threads may share them.

    Parameters
    ----------
    source
        What they are opened with.
    names
        Providers by their short names, in order.
    """

    def __init__(self, source: Source, names: Sequence[str]) -> None:
        self._source, self._names = source, tuple(names)
        self._session = source.open(names)
        #: Short names of the providers in use, the one that counts first.
        self.used = _used(self._session)
        #: Whether CUDA graphs are recorded.
        self.graphs = source.tuning.cuda_graph and self.used[0] in ON_CUDA
        #: Whether runs can be recorded with what is around them: TensorRT's were not tried.
        self.recordable = self.used[0] == "cuda" and not self.graphs
        #: ``fp16``, ``bf16`` or ``fp32``: what it computes in.
        self.precision = "fp16" if source.halves(self._names[0]) else "fp32"
        if source.tuning.brains(self.used[0]):
            self.precision = "bf16"
        self._fixed: dict[Form, tuple[Any, Captures | None]] = {}
        self._others: Any = None
        self._lock = threading.Lock()

    @property
    def metadata(self) -> dict[str, str]:
        """The strings that are stored in the file."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    @property
    def batches(self) -> bool:
        """Whether the file takes any number of frames at once."""
        return not isinstance(self._session.get_inputs()[0].shape[0], int)

    def run(self, frames: Array, outputs: Shapes) -> list[Array]:
        """Run once, on the side where the frames lie or on the host if it cannot be there.

        Parameters
        ----------
        frames
            (n, 1, H, W), float32, contiguous.
        outputs
            Name and shape of each output that is wanted.
        """
        session, captures = self._for(frames)
        site = self._source.site
        if self.used[0] not in ON_CUDA:
            if not on_device(frames):
                return run_on_host(session, frames, outputs)
            xp = array_module(frames)
            below = run_on_host(session, to_host(frames), outputs)
            return [xp.asarray(result) for result in below]
        if not on_device(frames):
            # ONNX Runtime's handles on one stream serve one launching thread at a time
            with self._lock if site.stream else nullcontext():
                return run_on_host(session, frames, outputs)
        shared = site.stream != 0 and site.stream == stream_address()
        if not shared:
            # a session works on a stream of its own, and is done with it when it returns
            wait(frames)
        with self._lock:
            if captures is None:
                return run_bound(session, frames, outputs, site.index, shared)
            return captures.run(frames, outputs, shared)

    def lasting(
        self, number: int, sides: tuple[int, int], stream: int, outputs: Sequence[str] = ()
    ) -> Any | None:
        """Open a session for runs that are to be recorded; None where no run can be.

        Parameters
        ----------
        number, sides
            Frames of each run, and their rows and columns.
        stream
            Address of the stream that they are recorded on.
        outputs
            Names of the outputs that are wanted; none for all.
        """
        if not self.recordable:
            return None
        source = replace(self._source, site=replace(self._source.site, stream=stream))
        form = Form(sides, number=number, lasting=True, outputs=tuple(outputs))
        return source.open(self._names, form)

    def _for(self, frames: Array) -> tuple[Any, Captures | None]:
        """Session for frames of a shape, and its recordings where it has any."""
        number, _, rows, columns = frames.shape
        if self.used[0] not in ON_CUDA or (self.graphs and number != 1):
            return self._session, None
        # TensorRT's engines are for any number up to the largest batch
        fixed = None if self.used[0] == "tensorrt" and not self.graphs else number
        form = Form((rows, columns), number=fixed)
        with self._lock:
            known = self._fixed.get(form)
            if known is None and len(self._fixed) >= MOST_SHAPES:
                return self._other(), None
            if known is None:
                known = self._fixed[form] = self._opened_for(form, frames)
        session, captures = known
        return session, captures if on_device(frames) else None

    def _opened_for(self, form: Form, frames: Array) -> tuple[Any, Captures | None]:
        """Open a session for frames like these, and let it plan what it does with them."""
        with undisturbed():
            session = self._source.open(self._names, form)
            if self.graphs:
                return session, Captures(session, self._source.site.index)
            if self.used[0] == "cuda":
                (given,) = (known.name for known in session.get_inputs())
                session.run(None, {given: np.zeros(frames.shape, np.float32)})
        return session, None

    def _other(self) -> Any:
        """Session for shapes that get none of their own; TensorRT would build engines for each."""
        if self.used[0] != "tensorrt":
            return self._session
        if self._others is None:
            self._others = self._source.open(self._names[1:] or ("cpu",))
        return self._others


def run_on_host(session: Any, frames: np.ndarray, outputs: Shapes) -> list[Array]:
    """Run a session on arrays of the host."""
    (source,) = (known.name for known in session.get_inputs())
    return list(session.run(list(outputs), {source: frames}))


def _used(session: Any) -> tuple[str, ...]:
    short = {full: name for name, full in PROVIDERS.items()}
    return tuple(short[full] for full in session.get_providers() if full in short)


def _version() -> str:
    """Versions that engines depend on: ONNX Runtime's, and TensorRT's where a package has it."""
    try:
        return f"{onnxruntime.__version__}-trt-{importlib.metadata.version('tensorrt')}"
    except importlib.metadata.PackageNotFoundError:
        return str(onnxruntime.__version__)
