"""The host waits once a frame: counted by the stand-in for a GPU (`tests/stand_in`).

On a GPU ``bench/gpu.py --trace`` counts the same by CUDA's own record.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import pytest

from latticewatch.analysis import Analyser
from latticewatch.devices.placement import Placement
from latticewatch.resident import Plans
from latticewatch.resident.recordings import AFTER
from latticewatch_kernels.arrays import device
from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.microscope import Microscope
from latticewatch_models.runtime import Segmenter

pytestmark = pytest.mark.gpu

SIDE = 128


@pytest.fixture
def waits() -> Callable[[], int]:
    """Gives how often the host has waited."""
    try:
        return ctypes.CDLL("libcudart.so.13").stand_in_waits  # type: ignore[no-any-return]
    except (AttributeError, OSError):
        pytest.skip("waits are counted by the stand-in for a GPU")


@pytest.mark.parametrize("together", [1, 4])
@pytest.mark.parametrize("record", [False, True], ids=["plain", "recorded"])
def test_the_host_waits_for_nothing_but_the_results(waits, record, together):
    segmenter = Segmenter(device="cuda:0", threads=1)
    assert segmenter.providers[0] == "cuda"
    frames = [frame.image for frame in Microscope("WS2", (SIDE, SIDE), 4).frames(together)]
    analyser = Analyser(
        segmenter, crystal=CRYSTALS["WS2"], record=record, plans=Plans(), placement=Placement(0)
    )
    with device(0):
        for _ in range(AFTER + 2):
            analyser.together(frames, 0)
        before = waits()
        analyser.together(frames, 0)
        # work that is recorded is one graph, whose results come down together
        assert waits() - before == (1 if record else together)
