"""A stream's session opened, new or as it was left, with the model that it goes on with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from latticewatch.analysis import Analyser
from latticewatch.config import AnalysisSettings, Settings
from latticewatch.placement import Placement
from latticewatch.recipe import recipe
from latticewatch.segmenters import Model, ModelInUse, resumed
from latticewatch.strip_reader import Reader
from latticewatch.writer import StreamWriter, tracker_settings
from latticewatch_models.crystal import crystal_named
from latticewatch_models.runtime import Segmenter


def open_stream(
    stream: str,
    settings: Settings,
    configured: Model,
    load: Callable[[Path], Segmenter],
    about: Mapping[str, Any],
    placement: Placement | None = None,
) -> tuple[StreamWriter, ModelInUse]:
    """Open the writer of a stream and choose its model.

    Parameters
    ----------
    stream, settings
        Name of the stream; what the service was started with.
    configured
        The model that the settings name.
    load
        Makes a segmenter of a file.
    about
        Versions, for the statistics.
    placement
        Where frames are analysed; the host by default.

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
        model = resumed(configured, writer.models(), folder, load)
        writer.record(recipe(settings, model, placement))
    except BaseException:
        writer.close()
        raise
    analyser = analyser_for(model.segmenter, settings.analysis, placement)
    return writer, ModelInUse(model, analyser, rule)


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
    )


def strip_reader(analyser: Analyser, settings: Settings) -> Reader:
    """Make what frames are analysed with while they are acquired."""
    crystal = crystal_named(settings.analysis.crystal)
    return Reader(analyser, tracker_settings(settings), crystal, settings.limits.overlay_px)
