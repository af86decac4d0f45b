"""What a service says of itself every few seconds: plain values, and whether all is well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from latticewatch import __version__
from latticewatch.client.messages import Health
from latticewatch.receiving.ingest import IngestCounters
from latticewatch.standing import Standing, describe
from latticewatch_models.runtime import Fall

#: Falls that are told one by one, the newest; a device that is lost brings two at most.
TOLD_FALLS = 32


def disagreeing(standings: Mapping[str, Standing], limit: float) -> dict[str, str]:
    """Why a stream's results are not to be trusted, by stream."""
    return {
        stream: describe(standing.estimate, limit)
        for stream, standing in standings.items()
        if standing.low
    }


def health(
    streams: Mapping[str, int],
    counters: IngestCounters,
    devices: Mapping[str, Mapping[str, Any]],
    falls: Sequence[Fall],
    **found: Mapping[str, Any],
) -> Health:
    """Make the message.

    Parameters
    ----------
    streams
        Frames in hand by stream.
    counters
        The frame port's counts.
    devices
        What runs where, by device (`lanes.Lanes.status`).
    falls
        Providers and devices that failed.
    found
        ``unavailable`` and ``disagreeing``, both reasons by stream, and ``self_training``.
    """
    fallen = [f"{fall.before} to {fall.after}: {fall.reason}" for fall in falls[-TOLD_FALLS:]]
    values = {
        "version": __version__,
        "streams": dict(streams),
        "received": dict(counters.received),
        "rejected": dict(counters.rejected),
        "missing": dict(counters.missing),
        "overrun": dict(counters.overrun),
        **found,
        "devices": devices,
        "fallen": fallen,
    }
    lost = any(device["lost"] for device in devices.values())
    degraded = found.get("unavailable") or found.get("disagreeing") or fallen or lost
    return Health(state="degraded" if degraded else "ok", values=values)
