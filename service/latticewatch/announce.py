"""What a step of a stream tells its subscribers, and what the store keeps of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from latticewatch.alerting import Alarm
from latticewatch.client.messages import (
    Alert,
    Defects,
    DefectTable,
    Message,
    Overlay,
    Statistics,
)
from latticewatch.detections import Detections, FrameInfo
from latticewatch.receiving.deliveries import Arrival, Gap
from latticewatch.results import FrameResult
from latticewatch.steps import Analysed, Outcome, Step
from latticewatch.tracker import Update


def frame_info(arrival: Arrival) -> FrameInfo:
    """Return what the tracker needs of a frame's header."""
    header = arrival.header
    return FrameInfo(
        arrival.frame,
        header.time_s,
        header.shape,
        header.pixel_size_nm,
        header.frame_time_s,
        header.dose_e_per_A2,
    )


def frame_result(step: Analysed, detections: Detections, update: Update) -> FrameResult:
    """Return what the store keeps of an analysed frame."""
    arrival, lattice = step.arrival, detections.lattice
    crystalline, disordered, hole = (float(part) for part in detections.fractions)
    numbers = {
        "a1_x": lattice.a1[0],
        "a1_y": lattice.a1[1],
        "a2_x": lattice.a2[0],
        "a2_y": lattice.a2[1],
        "origin_x": lattice.origin[0],
        "origin_y": lattice.origin[1],
        "constant_px": lattice.constant,
        "rotation_deg": lattice.rotation,
        "significance": lattice.significance,
        "crystalline": crystalline,
        "disordered": disordered,
        "hole": hole,
        "drift_x_px": update.drift_px[0],
        "drift_y_px": update.drift_px[1],
        "noise": float(detections.noise[0]),
    }
    if arrival.header.pixel_size_nm is not None:
        numbers["constant_nm"] = lattice.constant * arrival.header.pixel_size_nm
    return FrameResult(
        arrival.frame,
        arrival.epoch,
        arrival.seq,
        arrival.header.time_s,
        lattice=numbers,
        table=DefectTable.from_dict(update.table),
        closed=update.closed,
        events=update.events,
        picture=step.picture,
    )


def refused_result(step: Analysed) -> FrameResult:
    """Return what the store keeps of a frame whose content could not be used."""
    arrival = step.arrival
    return FrameResult(
        arrival.frame,
        arrival.epoch,
        arrival.seq,
        arrival.header.time_s,
        status="rejected",
        reason=str(step.error),
    )


def frame_messages(step: Analysed, table: DefectTable) -> tuple[Message, ...]:
    """Return defects and overlay of one frame."""
    arrival = step.arrival
    common = _common(step)
    messages: tuple[Message, ...] = (Defects(**common, table=table),)
    if step.preview is not None:
        labels = [
            state or species
            for species, state in zip(table.species.tolist(), table.state.tolist(), strict=True)
        ]
        overlay = Overlay(
            **common,
            image=step.preview,
            frame_shape=arrival.header.shape,
            points=np.stack([table.x_px, table.y_px], axis=-1).astype(np.float32),
            labels=labels,
            tracks=table.track,
        )
        messages = (overlay, *messages)
    return messages


def alert_messages(step: Step, alarms: Iterable[Alarm]) -> tuple[Message, ...]:
    """Return the alerts of a step's frames, in order."""
    common = _common(step)
    return tuple(alert_message(alarm, common) for alarm in alarms)


def alert_message(alarm: Alarm, common: Mapping[str, Any]) -> Alert:
    """Return an alert; `common` is what is known of its frame beyond what it tells itself."""
    own = {name: value for name, value in vars(alarm).items() if value is not None}
    return Alert(**{**common, **own})


def statistics_message(step: Step, data: Mapping[str, Any]) -> Statistics:
    """Return the statistics after a step."""
    return Statistics(**_common(step), data=data)


def timed(message: Message, outcome: Outcome) -> Message:
    """Add to a frame's defects what each stage took, to an alert when its frame was committed."""
    step = outcome.step
    if isinstance(message, Alert):
        return replace(message, values={**message.values, "committed_s": outcome.committed_s})
    if not isinstance(message, Defects) or not isinstance(step, Analysed):
        return message
    analysis = step.detections.timings_ms if step.detections is not None else {}
    return replace(message, timings_ms={**analysis, **outcome.timings_ms})


def _common(step: Step) -> dict[str, Any]:
    if isinstance(step, Analysed):
        arrival = step.arrival
        return {
            "stream": arrival.stream,
            "epoch": arrival.epoch,
            "frame": arrival.frame,
            "time_s": arrival.header.time_s,
            "sent_s": arrival.header.sent_s,
        }
    last = step.frame + step.count - 1 if isinstance(step, Gap) else step.frame
    return {"stream": step.stream, "epoch": step.epoch, "frame": last}
