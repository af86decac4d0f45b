"""A frame with its defects: image, markers, labels to hover over, paths, legend and scale bar."""

from __future__ import annotations

from collections import Counter

import numpy as np
import rerun as rr

from latticewatch.client.messages import Defects, Overlay
from latticewatch.client.table import DefectTable
from latticewatch.palette import style_of
from latticewatch.viewer.drawing import Entry, rgb, rgbs
from latticewatch.viewer.markers import OUTLINES
from latticewatch.viewer.trails import Trails, on_frame

#: Radius of a marker over the lattice constant: the column stays visible inside, and the markers of
#: neighbouring cells hardly touch.
MARKER_RADIUS = 0.6

#: Lattice constant that is taken while the statistics do not tell one, over the preview's side.
_CONSTANT_SHARE = 0.025

#: Share of the frame's height below it that holds the legend.
LEGEND_SHARE = 0.09

#: Most entries in one line of the legend.
_LEGEND_COLUMNS = 4

#: Width of a letter over that of the frame, on the page that the blueprint lays out.
_LETTER_SHARE = 0.0145

#: Widths on the screen, in points of the interface: lines half of, dots and paths.
LINE = rr.Radius.ui_points(1.0)
_PATH = rr.Radius.ui_points(0.75)
DOT = rr.Radius.ui_points(1.5)

_INK = (230, 230, 230)

#: Colour of the line around the frame.
BORDER = (86, 110, 118)


def frame_entries(
    overlay: Overlay,
    defects: Defects,
    trails: Trails,
    *,
    constant_px: float | None = None,
    pixel_size_nm: float | None = None,
) -> list[Entry]:
    """Draw a frame.

    The view's coordinates are the preview's pixels: (0, 0) is the corner of its first pixel, whose
    centre Rerun draws at (0.5, 0.5).

    Parameters
    ----------
    overlay, defects
        Of the same frame; ValueError otherwise.
    trails
        Where its tracks have been, this frame included.
    constant_px, pixel_size_nm
        Lattice constant and size of a pixel of the frame as acquired, where they are known: size of
        the markers; paths and scale bar are drawn only where the second is.
    """
    if overlay.frame != defects.frame or overlay.epoch != defects.epoch:
        raise ValueError(f"overlay of frame {overlay.frame}, defects of frame {defects.frame}")
    table, rows = defects.table, overlay.image.shape[0]
    block = block_of(overlay)
    places = to_view(np.stack([table.x_px, table.y_px], axis=-1), block)
    styles = [style_of(s, t) for s, t in _names(table)]
    colours = rgbs([colour for colour, _ in styles])
    labels = hover_labels(table, trails, overlay.frame)
    size = marker_size(constant_px, block, rows)
    strips = [
        OUTLINES[marker] * size + place
        for (_, marker), place in zip(styles, places.tolist(), strict=True)
    ]
    return [
        # not compressed: the browser decodes JPEG later, and draws the markers before their image
        ("frame/image", rr.Image(overlay.image, color_model="L")),
        ("frame/border", rr.Boxes2D(
            array=[[0, 0, overlay.image.shape[1], rows]], array_format=rr.Box2DFormat.XYWH,
            colors=BORDER, radii=LINE,
        )),
        ("frame/outlines", rr.LineStrips2D(
            strips, colors=colours, radii=LINE, labels=labels, show_labels=False, draw_order=20
        )),
        ("frame/defects", rr.Points2D(
            places, colors=colours, radii=DOT, labels=labels, show_labels=False, draw_order=30
        )),
        *_paths(table, trails, pixel_size_nm, block, colours),
        *legend(_names(table), overlay.image.shape),
        *_scale_bar(overlay.image.shape, pixel_size_nm, block),
    ]  # fmt: skip


def block_of(overlay: Overlay) -> int:
    """Pixels of the frame as acquired along a pixel of its preview."""
    return max(1, int(overlay.frame_shape[0] // max(1, overlay.image.shape[0])))


def marker_size(constant_px: float | None, block: int, rows: int) -> float:
    """Radius of a marker in a preview of so many rows, in its pixels."""
    return MARKER_RADIUS * (constant_px / block if constant_px else _CONSTANT_SHARE * rows)


def to_view(points: np.ndarray, block: int) -> np.ndarray:
    """Points (n, 2) in pixels of the frame as acquired, in the view's coordinates."""
    return (np.asarray(points, np.float64).reshape(-1, 2) + 0.5) / block


def hover_labels(table: DefectTable, trails: Trails, frame: int) -> list[str]:
    """Say of each defect in one line what the pointer that rests on it shows.

    Rerun's tooltip shows the first 30 letters of it: state, probability, class, track, age; a click
    shows the rest, the probability of the class.
    """
    columns = (
        table.track.tolist(), table.class_id.tolist(), table.class_probability.tolist(),
        table.probability.tolist(),
    )  # fmt: skip
    labels = []
    for (species, state), track, number, sure, probability in zip(
        _names(table), *columns, strict=True
    ):
        klass = f"c{number}" if number >= 0 else "c-"
        history = f"#{track} {_age(trails, track, frame)}" if track >= 0 else "no track"
        extra = f" (class {sure:.2f})" if number >= 0 else ""
        labels.append(f"{state or species} p{probability:.2f} {klass} {history}{extra}")
    return labels


def _age(trails: Trails, track: int, frame: int) -> str:
    """Frames that the track is old; of one that was there before the viewer, at least how many."""
    trail = trails.get(track)
    if trail is None:
        return "?f"
    return f"{'≥' if trail.since_start else ''}{frame - trail.first + 1}f"


def _names(table: DefectTable) -> list[tuple[str, str]]:
    return list(zip(table.species.tolist(), table.state.tolist(), strict=True))


def _paths(
    table: DefectTable,
    trails: Trails,
    pixel_size_nm: float | None,
    block: int,
    colours: np.ndarray,
) -> list[Entry]:
    if not pixel_size_nm:
        return []
    paths, rows = on_frame(trails, table, pixel_size_nm)
    strips = [to_view(places, block) for places in paths]
    drawn = rr.LineStrips2D(strips, colors=colours[rows], radii=_PATH, draw_order=15)
    return [("frame/paths", drawn)]


def legend(kinds: list[tuple[str, str]], shape: tuple[int, ...]) -> list[Entry]:
    """One marker and one name with the count for each species and state below the frame."""
    counts = Counter(f"{species} + vac." if "+" in state else species for species, state in kinds)
    names = sorted(counts)
    height, width = shape
    line = LEGEND_SHARE * height / 2
    strips, colours, places, texts = [], [], [], []
    for k, name in enumerate(names[: 2 * _LEGEND_COLUMNS]):
        colour, marker = style_of(name.partition(" ")[0], "+" if "+" in name else "")
        x = width * (k % _LEGEND_COLUMNS + 0.06) / _LEGEND_COLUMNS
        y = height + line * (k // _LEGEND_COLUMNS + 0.6)
        strips.append(OUTLINES[marker] * (0.3 * line) + (x, y))
        colours.append(colour)
        texts.append(f"{name}  {counts[name]}")
        # Rerun writes a text around the point half a line above it
        left = x + 0.03 * width + 0.5 * _LETTER_SHARE * width * len(texts[-1])
        places.append((left, y - 0.55 * line))
    return [
        ("frame/legend/markers", rr.LineStrips2D(strips, colors=rgbs(colours), radii=LINE)),
        ("frame/legend/names", rr.Points2D(
            places, colors=[_INK] * len(places), radii=rr.Radius.ui_points(0.0), labels=texts,
            show_labels=True,
        )),
    ]  # fmt: skip


def _scale_bar(shape: tuple[int, ...], pixel_size_nm: float | None, block: int) -> list[Entry]:
    if not pixel_size_nm:
        return []
    nm = pixel_size_nm * block
    height, width = shape
    length_nm = next((n for n in (20, 10, 5, 2, 1, 0.5) if n / nm < width / 4), 0.2)
    x, y = 0.03 * width, 0.935 * height
    line = rr.LineStrips2D(
        [[(x, y), (x + length_nm / nm, y)]], colors=rgb("#FFFFFF"), radii=rr.Radius.ui_points(2.0),
        labels=[f"{length_nm:g} nm"], show_labels=True, draw_order=40,
    )  # fmt: skip
    return [("frame/scale", line)]
