"""A frame that is being acquired: the rows that have come, and what they show so far."""

from __future__ import annotations

import rerun as rr

from latticewatch.client.messages import PartialOverlay
from latticewatch.palette import style_of
from latticewatch.viewer.drawing import Entry, rgbs
from latticewatch.viewer.markers import OUTLINES
from latticewatch.viewer.scene import BORDER, DOT, LINE, legend, marker_size, to_view


def preview_shape(partial: PartialOverlay) -> tuple[int, int]:
    """Rows and columns of the preview that the whole frame will have."""
    return partial.frame_shape[0] // _block(partial), partial.image.shape[1]


def rows_entries(partial: PartialOverlay, constant_px: float | None = None) -> list[Entry]:
    """Draw the rows that have come, with their provisional defects.

    It is drawn at the frame's own moment, where the whole frame then takes its place. What belongs
    to the frame before, the paths of its tracks above all, is taken away.

    Parameters
    ----------
    partial
        The rows.
    constant_px
        Lattice constant in pixels of the frame as acquired, where it is known: size of the markers.
    """
    block, shape = _block(partial), preview_shape(partial)
    names = [(label.partition("+")[0], label if "+" in label else "") for label in partial.labels]
    styles = [style_of(species, state) for species, state in names]
    colours = rgbs([colour for colour, _ in styles])
    places = to_view(partial.points, block)
    labels = [f"{label} (so far)" for label in partial.labels]
    size = marker_size(constant_px, block, shape[0])
    strips = [
        OUTLINES[marker] * size + place
        for (_, marker), place in zip(styles, places.tolist(), strict=True)
    ]
    return [
        ("frame/image", rr.Image(partial.image, color_model="L")),
        ("frame/border", rr.Boxes2D(
            array=[[0, 0, shape[1], shape[0]]], array_format=rr.Box2DFormat.XYWH,
            colors=BORDER, radii=LINE,
        )),
        ("frame/outlines", rr.LineStrips2D(
            strips, colors=colours, radii=LINE, labels=labels, show_labels=False, draw_order=20
        )),
        ("frame/defects", rr.Points2D(
            places, colors=colours, radii=DOT, labels=labels, show_labels=False, draw_order=30
        )),
        ("frame/paths", rr.LineStrips2D([])),
        *legend(names, shape),
    ]  # fmt: skip


def _block(partial: PartialOverlay) -> int:
    """Pixels of the frame as acquired along a pixel of its preview."""
    return max(1, partial.frame_shape[1] // max(1, int(partial.image.shape[1])))
