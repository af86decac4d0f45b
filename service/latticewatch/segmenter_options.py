"""The section ``[segmenter]`` of the settings: how the network is run."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from latticewatch_models.tuning import Precision, Tuning


class SegmenterSettings(BaseModel):
    """How the network is run; see docs/segmenter.md."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    precision: Precision = Field(
        default="auto",
        description="number format of the network: fp32 or fp16; auto: fp16 on a GPU, fp32 on the "
        "host; bf16: brain floats on the host, with the openvino extra",
    )
    max_batch: int = Field(
        default=1,
        ge=1,
        le=64,
        description="frames of the same shape that are run together, of whatever streams; as many "
        "workers are needed. 1: each frame by itself, as one microscope is served best",
    )
    max_wait_ms: float = Field(
        default=2.0,
        gt=0,
        le=1000,
        description="how long the first frame of a batch waits for others",
    )
    engines: Path | None = Field(
        default=None,
        description="folder where TensorRT's engines are kept; none: the user's cache, or "
        "systemd's of the service",
    )
    cuda_graph: bool = Field(
        default=False,
        description="record the network's work on the GPU and start it at one stroke; for "
        "analysis.workers = 1 and frames that are sent whole, as nobody else may use the GPU while "
        "it is recorded",
    )

    def check(self, workers: int) -> None:
        """Raise ValueError for what so many workers cannot do."""
        if self.max_batch > workers:
            raise ValueError(
                f"segmenter.max_batch {self.max_batch} is never reached by {workers} workers: set "
                "analysis.workers to as many"
            )
        if self.cuda_graph and workers > 1:
            raise ValueError(
                f"segmenter.cuda_graph allows no second thread on the GPU, and there are {workers} "
                "workers: set analysis.workers to 1"
            )

    @property
    def tuning(self) -> Tuning:
        """What sessions are opened with."""
        return Tuning(self.precision, self.cuda_graph, self.max_batch, self.engines)
