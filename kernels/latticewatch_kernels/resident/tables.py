"""Tables that depend on a frame's shape and plan alone: on a device they are made only once."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np

from latticewatch_kernels.abreast import each, in_step
from latticewatch_kernels.arrays import array_module, device_number, wait
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.recording import held

#: Tables that are kept: a dozen for each shape of frames, so that five shapes fit.
TABLES = 64


def table(like: Array, make: Callable[..., np.ndarray], *key: Any) -> Array:
    """Give ``make(*key)`` on the side of ``like``, where it is kept for the next frame.

    Parameters
    ----------
    like
        An array of the side where the table is wanted.
    make
        A pure function whose result depends on the key alone; nothing may write into it.
    key
        Its arguments, hashable: what frames of one shape have in common.
    """
    known = partial(_kept, array_module(like), device_number(like), make, key)
    return held(in_step("table", each, known))


@lru_cache(maxsize=TABLES)
def _kept(xp: Any, device: int, make: Callable[..., np.ndarray], key: tuple[Any, ...]) -> Array:
    # threads share it, and may work on other streams than the one that it goes up on
    del device  # part of the key, not of the work
    made = xp.asarray(make(*key))
    wait(made)
    return made
