"""How well detections agree with the truth: one-to-one matching, precision, recall, calibration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

#: Half the distance between a metal column and its nearest chalcogen column, in lattice constants:
#: nearer than this a detection is on its site and on no other.
MATCH_DISTANCE = 0.5 / np.sqrt(3.0)


def match(
    detections: np.ndarray, truth: np.ndarray, distance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Match detections to true defects one to one.

    As many pairs as possible within `distance` are made, and of all such matchings the one with the
    smallest sum of distances.

    Parameters
    ----------
    detections, truth
        Points (x, y), shapes (n, 2) and (m, 2), in the same unit as `distance`.
    distance
        Longest distance of a pair.

    Returns
    -------
    found, true
        Indices of the paired detections and of their true defects, each of shape (k,).
    """
    detections = np.asarray(detections, float).reshape(-1, 2)
    truth = np.asarray(truth, float).reshape(-1, 2)
    if not len(detections) or not len(truth):
        return np.zeros(0, int), np.zeros(0, int)
    pairs = cKDTree(detections).sparse_distance_matrix(
        cKDTree(truth), distance, output_type="ndarray"
    )
    rows, columns = np.unique(pairs["i"]), np.unique(pairs["j"])
    if not len(rows):
        return np.zeros(0, int), np.zeros(0, int)
    cost = cdist(detections[rows], truth[columns])
    # a pair out of reach costs more than all pairs within reach together: it is taken last
    forbidden = distance * (min(cost.shape) + 1)
    a, b = linear_sum_assignment(np.where(cost <= distance, cost, forbidden))
    within = cost[a, b] <= distance
    return rows[a[within]], columns[b[within]]


@dataclass
class Score:
    """Counts over frames, and what follows from them.

    Attributes
    ----------
    hits, misses
        True defects found and not found, by label (species, say).
    false_alarms
        Detections with no true defect, by the label that the caller gives them.
    errors
        Distances between the points of each pair, pixels.
    """

    hits: dict[str, int] = field(default_factory=dict)
    misses: dict[str, int] = field(default_factory=dict)
    false_alarms: dict[str, int] = field(default_factory=dict)
    errors: list[np.ndarray] = field(default_factory=list)

    def add(
        self,
        detections: np.ndarray,
        truth: np.ndarray,
        labels: np.ndarray,
        distance: float,
        detection_labels: np.ndarray | None = None,
        ignore: np.ndarray | None = None,
    ) -> None:
        """Count one frame.

        Parameters
        ----------
        detections, truth, distance
            As for `match`.
        labels
            Label of each true defect, shape (m,).
        detection_labels
            Label under which each detection counts where it is false; ``"any"`` without.
        ignore
            Boolean, shape (m,): true defects that are neither hit nor missed (a hole's rim); a
            detection on one is no false alarm.
        """
        found, true = match(detections, truth, distance)
        skip = np.zeros(len(truth), bool) if ignore is None else np.asarray(ignore, bool)
        was_hit = np.zeros(len(truth), bool)
        was_hit[true] = True
        for label, hit in zip(labels[~skip], was_hit[~skip], strict=True):
            _count(self.hits if hit else self.misses, str(label))
        alone = np.ones(len(detections), bool)
        alone[found] = False
        names = np.full(len(detections), "any") if detection_labels is None else detection_labels
        for label in names[alone]:
            _count(self.false_alarms, str(label))
        kept = ~skip[true]
        gaps = np.asarray(detections)[found[kept]] - np.asarray(truth)[true[kept]]
        self.errors.append(np.hypot(gaps[:, 0], gaps[:, 1]))

    def recall(self, labels: Iterable[str] | None = None) -> float:
        """Share of the true defects that were found; NaN where there was none."""
        names = set(self.hits) | set(self.misses) if labels is None else set(labels)
        hits = sum(self.hits.get(n, 0) for n in names)
        return _share(hits, hits + sum(self.misses.get(n, 0) for n in names))

    def precision(
        self, labels: Iterable[str] | None = None, alarms: Iterable[str] | None = None
    ) -> float:
        """Share of the detections that are true, over hits on `labels` and `alarms` given."""
        hit_names = set(self.hits) if labels is None else set(labels)
        alarm_names = set(self.false_alarms) if alarms is None else set(alarms)
        hits = sum(self.hits.get(n, 0) for n in hit_names)
        return _share(hits, hits + sum(self.false_alarms.get(n, 0) for n in alarm_names))

    def f1(self, labels: Iterable[str] | None = None, alarms: Iterable[str] | None = None) -> float:
        """Harmonic mean of precision and recall."""
        p, r = self.precision(labels, alarms), self.recall(labels)
        return 0.0 if p + r == 0 else 2 * p * r / (p + r)

    def position_error(self) -> float:
        """Root mean square distance of the pairs, pixels; NaN without pairs."""
        errors = np.concatenate(self.errors) if self.errors else np.zeros(0)
        return float(np.sqrt(np.mean(errors**2))) if len(errors) else float("nan")


def calibration_error(probability: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """Compute the expected calibration error of detections (Naeini et al., AAAI (2015)).

    Parameters
    ----------
    probability
        What the detector claimed, shape (n,).
    right
        Whether it was so, shape (n,).
    bins
        Bins of equal width between 0 and 1.

    Returns
    -------
    float
        Mean over the detections of abs(claimed - observed share) of their bin.
    """
    probability = np.asarray(probability, float)
    if not len(probability):
        return float("nan")
    place = np.clip((probability * bins).astype(int), 0, bins - 1)
    claimed = np.bincount(place, probability, bins)
    observed = np.bincount(place, np.asarray(right, float), bins)
    return float(np.abs(claimed - observed).sum() / len(probability))


def _count(table: dict[str, int], label: str) -> None:
    table[label] = table.get(label, 0) + 1


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
