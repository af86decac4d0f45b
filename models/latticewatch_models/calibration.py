"""How far a network's probabilities can be believed: fitted on scenes it never saw.

Columns are calibrated cell by cell. Defects are calibrated by what is published of them: one claim
a detection, which is the surest of several cells and therefore over-sure where the cells themselves
are not. One scale and shift cannot serve all doses: a network trained on all of them claims too
much in noise and too little without. So both depend on the noise of the frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass

import numpy as np
import torch
from torch.nn import functional

from latticewatch_kernels.localisation import decode_heat_map
from latticewatch_models.network import DefectNetwork
from latticewatch_models.scenes import CANONICAL_LATTICE_PX
from latticewatch_models.scoring import MATCH_DISTANCE, match
from latticewatch_models.segmentation import MERGE_DISTANCE

#: Claims below this are not fitted: nobody looks at them, and they are many.
LEAST_CLAIM = 0.03

#: Claims nearer to a crop's border than this, pixels, are not fitted: what they are of may lie
#: outside.
_BORDER_PX = 4.0


#: Pulls the fit to no change at all, as much as a few claims do: so few may be parted without an
#: error, and the scale would grow for ever.
_RIDGE = 0.1

#: The noise is read at every third pixel of a third of the rows: enough to know it to 2 % on a crop
#: of 128 px, and a ninth of the time.
_NOISE_STEP = 3


@dataclass(frozen=True)
class Calibration:
    """Platt scaling of a heat map: probability = sigmoid(a logit + b).

    a = scale + scale_slope t and b = shift + shift_slope t with t = `log_noise` of the frame, kept
    between low and high, the range that was fitted. Platt, "Probabilistic outputs for support
    vector machines" (1999); without the shift it is the temperature scaling of Guo et al., ICML
    (2017).
    """

    scale: float = 1.0
    shift: float = 0.0
    scale_slope: float = 0.0
    shift_slope: float = 0.0
    low: float = 0.0
    high: float = 0.0

    def apply(self, logits: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Calibrate logits (n, 1, h, w) of frames of `log_noise` (n, 1, 1, 1)."""
        t = noise.clamp(self.low, self.high)
        return logits * (self.scale + self.scale_slope * t) + (self.shift + self.shift_slope * t)


def log_noise(frame: torch.Tensor) -> torch.Tensor:
    """Logarithm of a frame's noise, standard deviations of a pixel in the frame's own units.

    By the mean of what a difference of two Laplacians leaves, which does not see what is smooth
    over three pixels (Immerkaer, "Fast noise variance estimation", CVIU 64, 300 (1996), eq. 5).

    Parameters
    ----------
    frame
        Conditioned, shape (n, 1, H, W).

    Returns
    -------
    torch.Tensor
        Shape (n, 1, 1, 1).
    """
    mask = torch.tensor([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])
    left = functional.conv2d(frame, mask[None, None], stride=_NOISE_STEP).abs()
    mean = left.mean(dim=(2, 3), keepdim=True) * (math.sqrt(math.pi / 2.0) / 6.0)
    return torch.log(mean.clamp(min=1e-3))


def calibrate(
    network: DefectNetwork, batches: Iterable[list[torch.Tensor]]
) -> tuple[Calibration, Calibration]:
    """Fit the calibrations of defects and of columns by cross-entropy.

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
    claims: list[np.ndarray] = []
    columns: list[np.ndarray] = []
    with torch.inference_mode():
        for image, heat, weight, offset, near in batches:
            logit, offsets = network(image)
            noise = log_noise(image).flatten().tolist()
            silent = (weight[:, 0] == 0) & (near[:, 0] == 0)
            for k, level in enumerate(noise):
                truth = heat[k, 0].numpy(), offset[k, :2].numpy()
                said = torch.sigmoid(logit[k, 0]).numpy(), offsets[k, :2].numpy()
                claims.append(
                    _rows(*_claims(said, truth, silent[k].numpy(), network.stride), level)
                )
                for each, is_one in zip(logit[k, 1:], heat[k, 1:], strict=True):
                    columns.append(_rows(each.numpy().ravel(), is_one.numpy().ravel(), level))
    defects = fit(*np.concatenate(claims).T)
    return defects, fit(*np.concatenate(columns).T) if columns else Calibration()


def _rows(logit: np.ndarray, right: np.ndarray, noise: float) -> np.ndarray:
    """Arguments of `fit` as columns, shape (n, 3)."""
    return np.column_stack([logit, right, np.full(len(logit), noise)])


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


def fit(logit: np.ndarray, right: np.ndarray, noise: np.ndarray) -> Calibration:
    """Fit a calibration by cross-entropy.

    Parameters
    ----------
    logit, right, noise
        Shape (n,) each: what was claimed, 1 where it came true and else 0, and `log_noise` of the
        frame that it was claimed of.
    """
    if len(logit) == 0:
        return Calibration()
    low, high = (float(v) for v in np.quantile(noise, [0.02, 0.98]))
    given, wanted = (torch.from_numpy(np.array(v, np.float64)) for v in (logit, right))
    t = torch.from_numpy(np.clip(np.asarray(noise, np.float64), low, high))
    none = torch.tensor(astuple(Calibration())[:4], dtype=torch.float64)
    found = none.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([found], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        scale, shift, scale_slope, shift_slope = found
        calibrated = (scale + scale_slope * t) * given + shift + shift_slope * t
        loss = functional.binary_cross_entropy_with_logits(calibrated, wanted)
        loss = loss + _RIDGE / len(given) * ((found - none) ** 2).sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    scale, shift, scale_slope, shift_slope = (float(v) for v in found.detach())
    return Calibration(scale, shift, scale_slope, shift_slope, low, high)
