"""What a model's logit on a chalcogen site is worth beside the column's own intensity.

    python bench/siteweight.py [--model FILE] [--frames N] [--doses E ...] [--write]

A logistic regression of the truth on the logarithm of the column's likelihood ratio and on what
`vacancies.network_evidence` makes of the logit at a weight of 1, on simulated frames that are
neither judged nor trained on. Prints both coefficients and the intercept by dose; ``--write`` puts
the network's, that of the first dose, into the file as its card's ``site_weight``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import onnx
from judging.frames import CRYSTAL, TUNING_SEED, Condition, acquire, judged
from judging.limit import told_sites
from scipy.spatial import cKDTree
from sklearn.linear_model import LogisticRegression

from latticewatch.vacancies import SUBLATTICE, judge_vacancies, lacking_shares, network_evidence
from latticewatch_kernels.conditioning import condition
from latticewatch_kernels.deviations import site_deviations
from latticewatch_kernels.labelling import label
from latticewatch_kernels.registration import register
from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.microscope import SimulatedFrame
from latticewatch_models.runtime import ZOO_MODEL, Segmenter

#: First seed of the frames, beyond those on which detectors are tuned.
SEED = TUNING_SEED + 50_000_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, default=ZOO_MODEL)
    parser.add_argument("--frames", type=int, default=120, help="frames to a dose (default 120)")
    parser.add_argument("--doses", type=float, nargs="+", default=[1600.0], metavar="E")
    parser.add_argument("--write", action="store_true", help="write the weight into the file")
    options = parser.parse_args()
    segmenter = Segmenter(options.model, threads=1)
    weights = []
    for dose in options.doses:
        frames = (acquire(Condition(dose), SEED + k) for k in range(options.frames))
        parts = [evidence(frame, segmenter) for frame in frames]
        known, vacant = (np.concatenate(one) for one in zip(*parts, strict=True))
        fit = LogisticRegression(C=100.0, max_iter=1000).fit(known, vacant)
        (column, network), shift = fit.coef_[0], fit.intercept_[0]
        print(f"{dose:g} e/px: column {column:.3f}, network {network:.3f}, intercept {shift:.2f}")
        weights.append(float(network))
    if options.write:
        write(options.model, round(weights[0], 2))
    return 0


def evidence(frame: SimulatedFrame, segmenter: Segmenter) -> tuple[np.ndarray, np.ndarray]:
    """Both kinds of evidence (n, 2) on the chalcogen sites of a frame, and which lack one atom."""
    image = condition(frame.image)
    lattice = register(image)
    labels = label(image, lattice)
    deviations = site_deviations(labels, lattice)
    points = deviations.points[deviations.sublattice == SUBLATTICE]
    further = network_evidence(segmenter.segment(labels.image).logit_at(points), deviations, 1.0)
    host = float(labels.columns.host[SUBLATTICE])
    ratio = judge_vacancies(deviations, host, lacking_shares(CRYSTALS[CRYSTAL]), 1.0).ratio[:, 0]
    places, species = told_sites(judged(frame.truth), SUBLATTICE)
    gap, index = cKDTree(places).query(points)
    kept = (gap < 0.3 * lattice.constant) & np.isin(species[index], ["", "VS"])
    return np.stack([ratio, further], axis=-1)[kept], species[index][kept] == "VS"


def write(path: Path, weight: float) -> None:
    """Set the weight in a model file's description."""
    model = onnx.load(path)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    facts["site_weight"] = repr(weight)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, facts)
    onnx.save(model, path)


if __name__ == "__main__":
    sys.exit(main())
