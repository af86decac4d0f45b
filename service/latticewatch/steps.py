"""What passes between the stages of a stream: a frame analysed, and what the writer made of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from latticewatch.client.errors import FrameError
from latticewatch.client.messages import Message
from latticewatch.detections import Detections
from latticewatch.receiving.deliveries import Arrival, End, Gap, Refusal
from latticewatch.segmenters import ModelRecord
from latticewatch.standing import Standing
from latticewatch.storage.pictures import Picture


@dataclass(frozen=True)
class Analysed:
    """A frame after its analysis: either detections or the reason why there are none.

    Attributes
    ----------
    arrival
        The frame as it came.
    detections, error
        One of the two.
    preview
        uint8 image for the overlay.
    picture
        What the session may keep of the frame.
    model
        The model that it was handed to the workers with.
    """

    arrival: Arrival
    detections: Detections | None = None
    error: FrameError | None = None
    preview: np.ndarray | None = None
    picture: Picture | None = None
    model: ModelRecord | None = None


#: What the writer of a stream takes, strictly in order.
Step = Analysed | Refusal | Gap | End


@dataclass(frozen=True)
class Outcome:
    """What one step came to, once it is committed.

    Attributes
    ----------
    step
        The step itself.
    messages
        To be published, in order.
    timings_ms
        Duration of the writer's stages.
    standing
        Agreement of segmenter and labels as of this step, where it was looked at.
    model
        The model that this step is the first to be analysed with.
    committed_s
        Unix time at which it was committed.
    """

    step: Step
    messages: tuple[Message, ...] = ()
    timings_ms: dict[str, float] = field(default_factory=dict)
    standing: Standing | None = None
    model: ModelRecord | None = None
    committed_s: float = 0.0

    @property
    def stream(self) -> str:
        """Name of the stream."""
        return self.step.arrival.stream if isinstance(self.step, Analysed) else self.step.stream
