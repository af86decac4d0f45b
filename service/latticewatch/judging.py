"""Whether a new model is better than the one in use, by frames that neither was trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from latticewatch.analysis import Analyser
from latticewatch.standing import Estimate, agreement_of, pooled
from latticewatch_models.runtime import Segmenter


@dataclass(frozen=True)
class Verdict:
    """Agreement of both models with the labels of the same frames.

    Attributes
    ----------
    before, after
        Of the model in use and of the new one.
    first, last
        The frames judged by.
    """

    before: Estimate
    after: Estimate
    first: int
    last: int

    @property
    def better(self) -> bool:
        """Whether the new model's agreement is above the whole interval of the other's."""
        return self.after.mean is not None and self.after.mean > self.before.high

    def __str__(self) -> str:
        return (
            f"agreement {_text(self.after)} in place of {_text(self.before)} "
            f"on checked frames {self.first} to {self.last}"
        )


def judge(analyser: Analyser, new: Segmenter, frames: Iterable[tuple[int, np.ndarray]]) -> Verdict:
    """Analyse numbered frames with both models.

    Raises
    ------
    ValueError
        There is no frame.
    """
    numbered = tuple(frames)
    if not numbered:
        raise ValueError("no frame is there to judge by")
    estimates = []
    for segmenter in (analyser.segmenter, new):
        checking = replace(analyser, segmenter=segmenter, check=True)
        counts = [checking(image).agreement for _, image in numbered]
        told = [one for one in counts if one is not None and one.total]
        estimates.append(agreement_of(pooled(told), len(told)))
    before, after = estimates
    return Verdict(before, after, numbered[0][0], numbered[-1][0])


def _text(estimate: Estimate) -> str:
    if estimate.mean is None:
        return "unknown"
    return f"{estimate.mean:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"
