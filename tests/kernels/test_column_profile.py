from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from latticewatch_kernels.columns import column_profile
from latticewatch_kernels.harmonics import measure_harmonics
from latticewatch_kernels.lattice import Lattice, NoLatticeError


def test_a_profile_without_one_significant_harmonic_is_no_lattice():
    rng = np.random.default_rng(3)
    lattice = Lattice(a1=(10.0, 0.0), a2=(-5.0, 8.66), origin=(64.0, 64.0), heights=(1.0, 0.2, 0.0))
    harmonics = measure_harmonics(rng.normal(size=(128, 128)), np.linalg.inv(lattice.matrix))
    drowned = replace(harmonics, noise=float(np.abs(harmonics.amplitudes).max()))
    with pytest.raises(NoLatticeError, match="no harmonic of the lattice stands out of the noise"):
        column_profile(drowned, lattice)
