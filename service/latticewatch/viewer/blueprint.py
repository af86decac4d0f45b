"""Where everything stands: one page that fits 1,400 x 900 without scrolling."""

from __future__ import annotations

from dataclasses import dataclass

import rerun.blueprint as rrb

from latticewatch.viewer import dopants, rosette, spectrum
from latticewatch.viewer.chain import REACH
from latticewatch.viewer.drawing import FRAME
from latticewatch.viewer.scene import LEGEND_SHARE

_BLACK = (0, 0, 0)


@dataclass(frozen=True)
class Sizes:
    """What the views are fitted to, in pixels or units of each; None where it is not known yet.

    Attributes
    ----------
    frame
        Rows and columns of the preview.
    transitions, classes
        Height and width of the heat map and of the classes' images.
    """

    frame: tuple[int, int] | None = None
    transitions: tuple[float, float] | None = None
    classes: tuple[float, float] | None = None


def blueprint(sizes: Sizes) -> rrb.Blueprint:
    """Lay the views out, fitted to what they show."""
    return rrb.Blueprint(
        rrb.Horizontal(
            rrb.Vertical(
                _picture("frame", "Frame", _with_legend(sizes.frame)),
                rrb.Horizontal(_status(), _alerts(), column_shares=[1.35, 1.0]),
                row_shares=[2.05, 1.0],
            ),
            rrb.Vertical(
                rrb.Tabs(
                    rrb.Horizontal(
                        _picture("transitions", "Transitions, %", sizes.transitions),
                        _graph(),
                        _picture("spectrum", "Bragg peaks", (spectrum.SIDE, spectrum.SIDE)),
                        name="States and lattice",
                    ),
                    _picture("dopants", "Dopants", (dopants.HEIGHT, dopants.WIDTH)),
                    rrb.Horizontal(
                        _rosette(),
                        rrb.TextDocumentView(origin="rates", name="Rates"),
                        column_shares=[1.0, 1.9],
                        name="Rates and directions",
                    ),
                ),
                _picture("classes", "Mean image of every class", sizes.classes),
                _series(),
                row_shares=[1.35, 0.75, 1.9],
            ),
            column_shares=[1.0, 1.28],
        ),
        rrb.BlueprintPanel(state="hidden"),
        rrb.SelectionPanel(state="hidden"),
        rrb.TimePanel(state="collapsed", timeline=FRAME, play_state="following"),
        auto_layout=False,
        auto_views=False,
    )


def _with_legend(shape: tuple[int, int] | None) -> tuple[float, float] | None:
    return None if shape is None else ((1 + LEGEND_SHARE) * shape[0], shape[1])


def _picture(origin: str, name: str, size: tuple[float, float] | None) -> rrb.Spatial2DView:
    bounds = None
    if size is not None:
        bounds = rrb.VisualBounds2D(x_range=[0, size[1]], y_range=[0, size[0]])
    return rrb.Spatial2DView(origin=origin, name=name, background=_BLACK, visual_bounds=bounds)


def _graph() -> rrb.GraphView:
    # positions are given: forces would only move the states about
    return rrb.GraphView(
        origin="states",
        name="States",
        visual_bounds=rrb.VisualBounds2D(x_range=[-REACH, REACH], y_range=[-REACH, REACH]),
        force_link=rrb.archetypes.ForceLink(enabled=False),
        force_many_body=rrb.archetypes.ForceManyBody(enabled=False),
        force_position=rrb.archetypes.ForcePosition(enabled=False),
        force_center=rrb.archetypes.ForceCenter(enabled=False),
        force_collision_radius=rrb.archetypes.ForceCollisionRadius(enabled=False),
    )


def _rosette() -> rrb.Spatial2DView:
    bounds = rrb.VisualBounds2D(
        x_range=[-rosette.REACH, rosette.REACH], y_range=[-rosette.REACH, rosette.REACH]
    )
    return rrb.Spatial2DView(
        origin="rosette", name="Hops and D by direction", background=_BLACK, visual_bounds=bounds
    )


def _series() -> rrb.Vertical:
    return rrb.Vertical(
        rrb.Horizontal(
            # its colours are those of the frame's legend, which would hide half of it
            _lines("populations", "Defects; grey: Σp(vacancy)", legend=False),
            _lines("fractions", "Area, %"),
            _lines("rate", "Frames/s", legend=False),
            column_shares=[1.6, 1.0, 0.8],
        ),
        rrb.Horizontal(
            # a thick line between two thin ones: an estimate and its interval
            _lines("diffusion", "D of vacancies, nm²/s", legend=False),
            _lines("hops", "Hops of a vacancy, 1/s", legend=False),
            _lines("latency", "Latency, ms"),
        ),
    )


def _lines(origin: str, name: str, *, legend: bool = True) -> rrb.TimeSeriesView:
    corner = rrb.PlotLegend(corner=rrb.Corner2D.LeftTop, visible=legend)
    return rrb.TimeSeriesView(origin=origin, name=name, plot_legend=corner)


def _status() -> rrb.TextDocumentView:
    return rrb.TextDocumentView(origin="status", name="Now")


def _alerts() -> rrb.TextLogView:
    columns = rrb.TextLogColumns(timeline_columns=[FRAME], text_log_columns=["body"])
    return rrb.TextLogView(origin="alerts", name="Alerts", columns=columns)
