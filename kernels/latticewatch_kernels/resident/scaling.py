"""Bring a frame to the network's scale, by the facts."""

from __future__ import annotations

import math

from latticewatch_kernels.arrays import array_module
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.launch import launch
from latticewatch_kernels.resident.plan import Plan

#: Pixels to either side at most that a pixel is told from: shrinking by 60 and less.
MOST_REACH = 128


def rescaled(image: Array, facts: Array, plan: Plan, result: Array | None = None) -> Array:
    """Resample an image by its factor; as it is where the plan has no other scale.

    Parameters
    ----------
    image
        float32 (rows, columns).
    facts
        With FACTOR.
    plan
        Whose `scaled` is the shape that is wanted.
    result
        What is to be filled, if the plan has another scale.

    Returns
    -------
    Array
        float32 of that shape. The twin is `patches.rescale`; weights are the twin's to the last
        bit but for the order of their sum, within ``2**-50`` of one another before they are
        rounded to single precision. Products are summed up in double precision here.
    """
    if plan.scaled is None:
        return image
    rows, columns = plan.scaled
    return _along(1, _along(0, image, rows, facts), columns, facts, result)


def _along(
    axis: int, image: Array, wanted: int, facts: Array, result: Array | None = None
) -> Array:
    """Resample one axis of an image to so many pixels."""
    xp, size = array_module(image), image.shape[axis]
    # a pixel more than the shapes ask for, which are rounded
    most = min(math.ceil(2.0 * max(1.0, size / wanted)) + 1, MOST_REACH)
    weights = xp.empty((wanted, 2 * most + 1), xp.float32)
    launch("scaling", "resampling", wanted, image, facts, wanted, most, weights)
    shape = (wanted, image.shape[1]) if axis == 0 else (image.shape[0], wanted)
    inner, number = (shape[1] if axis == 0 else 1), math.prod(shape)
    result = xp.empty(shape, xp.float32) if result is None else result
    launch(
        "scaling", "resampled", number, image,
        facts, weights, image, wanted, most, size, inner, number, result,
    )  # fmt: skip
    return result
