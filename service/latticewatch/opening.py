"""A stream's session opened, new or as it was left, with the model that it goes on with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latticewatch.analysis import Analyser
from latticewatch.config import AnalysisSettings, Settings
from latticewatch.devices.placement import Placement
from latticewatch.devices.seats import Seat
from latticewatch.recipe import recipe
from latticewatch.segmenters import Analysis, ModelInUse, resumed
from latticewatch.strip_reader import Reader
from latticewatch.writer import StreamWriter, tracker_settings
from latticewatch_models.crystal import crystal_named
from latticewatch_models.runtime import Segmenter


def open_stream(
    stream: str,
    settings: Settings,
    seat: Seat,
    about: Mapping[str, Any],
) -> tuple[StreamWriter, ModelInUse]:
    """Open the writer of a stream and choose its model.

    Parameters
    ----------
    stream, settings
        Name of the stream; what the service was started with.
    seat
        What its frames are analysed on.
    about
        Versions, for the statistics.

    Raises
    ------
    StoreError
        The session's file, or its own model, cannot be had.
    ValueError
        The session was written with another crystal or other tracker settings.
    """
    folder, rule = settings.store.data / stream, settings.calibration.rule
    writer = StreamWriter(
        stream,
        folder,
        tracker_settings(settings),
        crystal_named(settings.analysis.crystal),
        fsync=settings.store.fsync,
        about=about,
        rule=rule,
        alerts=settings.alert_rules(),
    )
    try:
        model = resumed(seat.model, writer.models(), folder, seat.load)
        writer.record(recipe(settings, model, seat.placement))
    except BaseException:
        writer.close()
        raise
    analyser = analyser_for(model.segmenter, settings.analysis, seat.placement)
    return writer, ModelInUse(model, analyser, rule, seat.later)


def analyser_for(
    segmenter: Segmenter, options: AnalysisSettings, placement: Placement | None = None
) -> Analyser:
    """Make the analysis of frames that the settings ask for, on the host by default."""
    return Analyser(
        segmenter,
        options.threshold,
        options.vacancy_threshold,
        crystal_named(options.crystal),
        placement=placement or Placement(),
        record=options.record,
    )


def strip_reader(analyser: Analysis, settings: Settings) -> Reader:
    """Make what frames are analysed with while they are acquired."""
    crystal = crystal_named(settings.analysis.crystal)
    return Reader(analyser, tracker_settings(settings), crystal, settings.limits.overlay_px)
