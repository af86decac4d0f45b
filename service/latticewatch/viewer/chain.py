"""The transition matrix as a heat map with numbers, and as a directed graph."""

from __future__ import annotations

import math

import numpy as np
import rerun as rr

from latticewatch.palette import style_of
from latticewatch.viewer.drawing import Entry, rgbs
from latticewatch.viewer.facts import Chain

#: Side of a cell of the heat map in the view's units, and of the margins that hold the names of the
#: states: left of it and above.
CELL = 10
_LEFT, _TOP = 10, 6

#: Least probability of a step that the graph draws: below it every state is joined to every other
#: one and the picture says nothing.
LEAST_EDGE = 0.03

#: Radius of the circle that the states stand on, and of a node, units of the graph's view.
_CIRCLE, _NODE = 100.0, 14.0

#: What the graph's view shows in either direction from its middle: the circle and the boxes on it.
REACH = 1.5 * _CIRCLE

#: Half a line of text in the view's units, at the size that the page gives it.
_HALF_LINE = 2.4

_INK = (235, 235, 235)


def chain_entries(chain: Chain) -> list[Entry]:
    """Return matrix and graph."""
    return [*_matrix(chain), *_graph(chain)]


def matrix_size(chain: Chain) -> tuple[float, float]:
    """Height and width of the heat map with the names of its rows and columns."""
    side = CELL * len(chain.states)
    return side + _TOP, side + _LEFT


def _matrix(chain: Chain) -> list[Entry]:
    n = len(chain.states)
    known = np.nan_to_num(chain.probabilities, nan=0.0).astype(np.float32)
    margin = np.pad(np.kron(known, np.ones((CELL, CELL), np.float32)), ((_TOP, 0), (_LEFT, 0)))
    image = rr.DepthImage(margin, meter=1.0, colormap="viridis", depth_range=(0.0, 1.0))
    cells = [(CELL * (k % n + 0.5), CELL * (k // n + 0.5)) for k in range(n * n)]
    numbers = [_number(chain, *divmod(k, n)) for k in range(n * n)]
    places = [CELL * (k + 0.5) for k in range(n)]
    names = [(-0.5 * _LEFT, y) for y in places] + [(x, -0.5 * _TOP) for x in places]
    return [
        ("transitions/matrix", image),
        ("transitions/numbers", _texts(cells, numbers)),
        ("transitions/names", _texts(names, [short_name(s) for s in chain.states] * 2)),
    ]


def short_name(state: str) -> str:
    """``VS/0`` for ``MoW+VS/0``: what tells the states of one dopant apart."""
    return state.partition("+")[2] or state


def _number(chain: Chain, row: int, column: int) -> str:
    value = chain.probabilities[row, column]
    if not math.isfinite(value):
        return "-"
    return f"{100 * value:.0f}"


def _texts(places: list[tuple[float, float]], texts: list[str]) -> rr.Points2D:
    # the margin is part of the image, and Rerun writes a text half a line below its point
    shifted = [(x + _LEFT, y + _TOP - _HALF_LINE) for x, y in places]
    return rr.Points2D(
        shifted,
        colors=[_INK] * len(places),
        radii=rr.Radius.ui_points(0.0),
        labels=texts,
        show_labels=True,
        draw_order=30,
    )


def _graph(chain: Chain) -> list[Entry]:
    """States on a circle, the first in its middle where there are four: the threefold one."""
    edges = [
        (chain.states[i], chain.states[j])
        for i, j in np.argwhere(np.nan_to_num(chain.probabilities) >= LEAST_EDGE).tolist()
        if i != j
    ]
    stays = np.diag(chain.probabilities)
    labels = [
        f"{name}\nstays {stay:.2f}" if math.isfinite(stay) else name
        for name, stay in zip(chain.states, stays.tolist(), strict=True)
    ]
    nodes = rr.GraphNodes(
        list(chain.states),
        positions=_positions(len(chain.states)),
        labels=labels,
        colors=rgbs([style_of(name.partition("+")[0], name)[0] for name in chain.states]),
        radii=_NODE,
    )
    return [("states", nodes), ("states", rr.GraphEdges(edges, graph_type="directed"))]


def _positions(count: int) -> list[tuple[float, float]]:
    middle = 1 if count == 4 else 0
    around = count - middle
    angles = [2 * math.pi * k / max(around, 1) - math.pi / 2 for k in range(around)]
    circle = [(_CIRCLE * math.cos(a), _CIRCLE * math.sin(a)) for a in angles]
    return [(0.0, 0.0)] * middle + circle
