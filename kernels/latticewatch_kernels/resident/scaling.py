"""Bring a frame to the network's scale, by the facts."""

from __future__ import annotations

import numpy as np

from latticewatch_kernels.arrays import array_module
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.launch import launch
from latticewatch_kernels.resident.plan import Plan


def rescaled(image: Array, facts: Array, plan: Plan) -> Array:
    """Resample an image by its factor; as it is where the plan has no other scale.

    Parameters
    ----------
    image
        float32 (rows, columns).
    facts
        With FACTOR.
    plan
        Whose `scaled` is the shape that is wanted.

    Returns
    -------
    Array
        float32 of that shape. The twin is `patches.rescale`; weights are the twin's to the last
        bit but for the order of their sum, within ``2**-50`` of one another before they are
        rounded to single precision.
    """
    if plan.scaled is None:
        return image
    xp, weights = array_module(image), []
    for size, wanted in zip(plan.shape, plan.scaled, strict=True):
        weights.append(xp.zeros((wanted, size), np.float32))
        launch("scaling", "resampling", wanted, image, facts, wanted, size, weights[-1])
    return weights[0] @ image @ weights[1].T
