"""Fit how far a trained network's probabilities can be believed, on scenes it never saw.

Columns are calibrated cell by cell. Defects are calibrated by what is published of them: one claim
a detection, which is the surest of several cells and therefore over-sure where the cells themselves
are not.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch.nn import functional

from latticewatch_kernels.localisation import decode_heat_map
from latticewatch_models.export import Calibration
from latticewatch_models.network import DefectNetwork
from latticewatch_models.scenes import CANONICAL_LATTICE_PX
from latticewatch_models.scoring import MATCH_DISTANCE, match
from latticewatch_models.segmentation import MERGE_DISTANCE

#: Claims below this are not fitted: nobody looks at them, and they are many.
LEAST_CLAIM = 0.03

#: Claims nearer to a crop's border than this, pixels, are not fitted: what they are of may lie
#: outside.
_BORDER_PX = 4.0


def calibrate(
    network: DefectNetwork, batches: Iterable[list[torch.Tensor]]
) -> tuple[Calibration, Calibration]:
    """Fit scale and shift of the logits of defects and of columns by cross-entropy.

    Parameters
    ----------
    network
        Trained, in its evaluating mode.
    batches
        Of scenes that it was never trained on; see `batches.batches`.

    Returns
    -------
    tuple of Calibration
        Of defects and of columns; the latter changes nothing where the network marks none.
    """
    claims, rights, logits, heats = [], [], [], []
    with torch.inference_mode():
        for image, heat, weight, offset, near in batches:
            logit, offsets = network(image)
            silent = (weight[:, 0] == 0) & (near[:, 0] == 0)
            for k in range(len(image)):
                truth = heat[k, 0].numpy(), offset[k, :2].numpy()
                said = torch.sigmoid(logit[k, 0]).numpy(), offsets[k, :2].numpy()
                claim, right = _claims(said, truth, silent[k].numpy(), network.stride)
                claims.append(claim)
                rights.append(right)
            logits.append(logit[:, 1:].flatten())
            heats.append(heat[:, 1:].flatten())
    defects = fit(np.concatenate(claims), np.concatenate(rights))
    if network.kinds == 1:
        return defects, Calibration()
    return defects, fit(torch.cat(logits).numpy(), torch.cat(heats).numpy())


def _claims(
    said: tuple[np.ndarray, np.ndarray],
    truth: tuple[np.ndarray, np.ndarray],
    silent: np.ndarray,
    stride: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Logits of the detections in a crop, and whether each is right; two of shape (n,)."""
    shape = (stride * silent.shape[0], stride * silent.shape[1])
    merge = MERGE_DISTANCE * CANONICAL_LATTICE_PX
    true, _ = decode_heat_map(*truth, stride, shape, 0.5, merge)
    points, probability = decode_heat_map(*said, stride, shape, LEAST_CLAIM, merge)
    right = np.zeros(len(points), bool)
    right[match(points, true, MATCH_DISTANCE * CANONICAL_LATTICE_PX)[0]] = True
    limits = np.array(shape[::-1]) - 1 - _BORDER_PX
    kept = ((points >= _BORDER_PX) & (points <= limits)).all(axis=1)
    cell = np.clip(points // stride, 0, np.array(silent.shape[::-1]) - 1).astype(int)
    kept &= ~silent[cell[:, 1], cell[:, 0]]
    sure = np.clip(probability[kept], 1e-7, 1.0 - 1e-7)
    return np.log(sure / (1.0 - sure)), right[kept]


def fit(logit: np.ndarray, right: np.ndarray) -> Calibration:
    """Fit scale and shift of logits (n,) to what came of them (n,), 0 or 1."""
    if len(logit) == 0:
        return Calibration()
    given = torch.from_numpy(np.array(logit, np.float64))
    wanted = torch.from_numpy(np.array(right, np.float64))
    scale = torch.ones(1, dtype=torch.float64, requires_grad=True)
    shift = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([scale, shift], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(scale * given + shift, wanted)
        # a few claims may be parted without an error: keep the scale finite
        loss = loss + 1e-4 * ((scale - 1.0) ** 2 + shift**2).sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return Calibration(float(scale.item()), float(shift.item()))
