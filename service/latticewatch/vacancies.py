"""Vacancies of the second sublattice, told by what their columns lack.

A chalcogen column that lacks one atom of two stands two standard deviations out of the noise: no
picture of a defect, but a number that Bayes' rule can weigh. The network says where something is;
on these sites the column's own intensity says whether (decision 0011).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from latticewatch_kernels.deviations import Deviations
from latticewatch_models.crystal import RARER, Crystal

#: The sublattice that is judged: its columns are light, and vacancies there are faint.
SUBLATTICE = 1

#: Host columns of it lower than this, in units of the first's, tell nothing.
LEAST_HOST = 0.01

#: What a column may lack, as shares of itself, where the crystal is not told: one of two atoms, or
#: all.
LACKING = (0.5, 1.0)

#: Share of the sites that lack the least amount, as expected before the frame is looked at, each
#: further amount being rarer by `RARER`; and the number of sites that this expectation weighs as
#: much as: 512 x 512 pixels of WS2 at 0.03 nm hold 2,700.
EXPECTED_SHARE, EXPECTED_SITES = 0.01, 3000.0

#: Steps of expectation and maximisation; the shares then move by less than a hundredth of
#: themselves.
STEPS = 12

#: Below this no vacancy is reported, however faint all of them are: four of five would be noise. At
#: 800 electrons a pixel 0.17 in place of 0.2 costs 0.006 of the F1 over all defects (60 frames); at
#: 1,600 the F1 of single vacancies is 0.36, for which 0.18 is the threshold that is best.
LEAST_THRESHOLD = 0.18

#: Power to which the likelihood ratio counts. A sum of few electrons is far too low more seldom
#: than a normal variable: a logistic regression of the truth on the logarithm of the ratio and the
#: network's evidence gives 1.10 at 1,600 electrons a pixel (240 simulated frames) and 1.09 at 3,200
#: and 6,400 (60 each).
EVIDENCE = 1.1

#: Columns in the shadow of something else look as if this part of the least amount were missing, in
#: every frame alike; over many frames they must not pass for vacancies (`tracker.site_filter`).
ODD_LEVEL = 0.5

#: A likelihood ratio to a power p above 1 claims too much where columns stand out well: its mean
#: over host columns is not 1 but exp((p^2 - p) d^2 / 2), with d standard deviations between host
#: and vacancy. This part of that exponent is taken off. The logarithms of the odds that 240, 60 and
#: 60 simulated frames ask for are lower than without by 0.2, 0.35 and 0.85 at 1,600, 3,200 and
#: 6,400 electrons a pixel, 0.4 to 0.75 of it.
OVERCLAIM = 0.5

#: Deviations beyond this many standard deviations do not tell how the network's logit goes with
#: them; and a logit counts as no farther off than `LONGEST_LOGIT`.
LOGIT_SIGMAS, LONGEST_LOGIT = 2.5, 6.0

#: A column that differs from its host by this many standard deviations is a defect, whether or not
#: the network marks it: of two million columns that do not differ one is. Networks miss what they
#: were not shown, bright adatoms on real specimens say.
OUTSTANDING_SIGMAS = 5.0

#: A metal atom adds about one host column. Grains of contamination add less: on three published
#: frames of MoS2 0.5 to 0.75, the adatoms that the eye sees 0.8 to 1.4.
LEAST_ADATOM = 0.8

#: Where the local mean is above this, crystal's mean 1, the crystal is covered: its columns cannot
#: be told from what lies on it. Two adatoms side by side raise it to 1.55.
COVERED_LEVEL = 2.0

#: Heights that such a column may have are spread over this many host columns.
OUTSTANDING_RANGE = 3.0

#: A column brighter than its host by more standard deviations than this lacks nothing: there is
#: something on it, which is the network's to tell.
BRIGHT_SIGMAS = 3.0


@dataclass(frozen=True)
class Vacancies:
    """Every judged site with the probability that its column lacks something; n of them.

    Attributes
    ----------
    cells
        (n, 2), on sublattice `SUBLATTICE`.
    points
        (n, 2) pixels (x, y).
    probability
        (n,).
    bright
        bool (n,): the column is brighter than its host by more than noise.
    shares
        (k,) share of the frame's sites that lack each amount.
    intensity
        (n,) of the column, in host columns of sublattice 0.
    ratio
        (n, k) log likelihood ratio of each amount against the undisturbed column, by the column's
        own intensity alone: what a network makes of a site errs alike in every frame.
    odd
        (n,) the same of a column that lacks `ODD_LEVEL` of the least amount.
    """

    cells: np.ndarray
    points: np.ndarray
    probability: np.ndarray
    bright: np.ndarray
    shares: np.ndarray
    intensity: np.ndarray
    ratio: np.ndarray
    odd: np.ndarray

    def find(self, cells: np.ndarray, sublattice: np.ndarray) -> np.ndarray:
        """Return the number of the column on each site (n, 2) and (n,), -1 where there is none."""
        if not len(self.cells) or not len(cells):
            return np.full(len(cells), -1)
        known, wanted = ((c.astype(np.int64) << 32).T[0] + c.T[1] for c in (self.cells, cells))
        rising = np.argsort(known)
        place = np.minimum(np.searchsorted(known, wanted, sorter=rising), len(known) - 1)
        number = rising[place]
        return np.where((known[number] == wanted) & (sublattice == SUBLATTICE), number, -1)

    def take(self, index: np.ndarray) -> Vacancies:
        """Return the chosen columns."""
        columns = (
            self.cells, self.points, self.probability, self.bright, self.intensity, self.ratio,
            self.odd,
        )  # fmt: skip
        cells, points, probability, bright, intensity, ratio, odd = (c[index] for c in columns)
        return Vacancies(cells, points, probability, bright, self.shares, intensity, ratio, odd)


@cache  # as many as there are crystals; every frame asks
def lacking_shares(crystal: Crystal | None) -> tuple[float, ...]:
    """Tell what a column of the second sublattice may lack, in shares of the host, least first."""
    if crystal is None:
        return LACKING
    return tuple(sorted({share for share in lost_shares(crystal) if share > 0.0}))


def lost_shares(crystal: Crystal) -> tuple[float, ...]:
    """Share of the host column that each of the crystal's readings lacks, 0 off this sublattice."""
    host = crystal.host_intensity(SUBLATTICE)
    return tuple(
        round(1.0 - crystal.reading_intensity(r) / host, 6) if r.sublattice == SUBLATTICE else 0.0
        for r in crystal.readings
    )


def judge_vacancies(
    deviations: Deviations,
    host: float,
    lacking: tuple[float, ...] = LACKING,
    evidence: float = EVIDENCE,
    further: np.ndarray | None = None,
) -> Vacancies:
    """Weigh every column of the second sublattice.

    Deviations are normally distributed about 0 or about what is lacking. How common each is follows
    from the frame itself by expectation and maximisation (Dempster, Laird and Rubin, J. R. Stat.
    Soc. B 39, 1 (1977)) under a Dirichlet prior, so that the probability is that of this frame's
    specimen: an empirical Bayes estimate (Efron, Large-Scale Inference, ch. 5 (2010)).

    Parameters
    ----------
    deviations
        Of one frame.
    host
        Intensity of the undisturbed column of this sublattice, in the same units.
    lacking
        Shares of it that a column may lack.
    evidence
        Power to which the likelihood ratio counts.
    further
        Logarithm of a likelihood ratio of each column of the second sublattice, in the order of the
        deviations, that other evidence gives (`network_evidence`).
    """
    here = deviations.sublattice == SUBLATTICE
    value, error = deviations.deviation[here], deviations.error[here]
    amounts = host * np.append(lacking, ODD_LEVEL * lacking[0])
    # log likelihood ratio of each alternative to the host
    variance = np.maximum(error, 1e-12)[:, None] ** 2
    ratios = -evidence * (value[:, None] + 0.5 * amounts) * amounts / variance
    ratio, odd = ratios[:, :-1], ratios[:, -1]
    claim = ratio - OVERCLAIM * 0.5 * (evidence**2 - evidence) * amounts[:-1] ** 2 / variance
    if further is not None:
        claim = claim + further[:, None]
    expectation = EXPECTED_SHARE * RARER ** np.arange(len(lacking))
    shares = expectation
    # amounts by rows: sums over so short an axis as theirs would take most of the time
    odds = np.exp(np.clip(claim.T, -60.0, 60.0))
    for _ in range(STEPS):
        member = shares[:, None] * odds
        member /= 1.0 - shares.sum() + member.sum(axis=0)
        mass = member.sum(axis=1) + EXPECTED_SITES * expectation
        shares = mass / (len(value) + EXPECTED_SITES)
    weight = shares @ odds
    probability = weight / (1.0 - shares.sum() + weight)
    return Vacancies(
        deviations.cells[here],
        deviations.points[here],
        probability,
        value > BRIGHT_SIGMAS * error,
        shares,
        host + value,
        ratio,
        odd,
    )


def network_evidence(logit: np.ndarray, deviations: Deviations, weight: float) -> np.ndarray:
    """Weigh what the network makes of a site beside what its column says itself.

    Both look at the same electrons. The part of the logit that goes with the column's deviation, by
    a straight line over the frame's own sites, is no further evidence; the rest is, and counts
    `weight` to the unit. It is shifted so that its mean likelihood ratio over the sites is 1, as
    that of any evidence over host columns must be: a network that knows nothing changes nothing.

    Parameters
    ----------
    logit
        (n,) of the network at the columns of the second sublattice, in the order of the deviations.
    deviations
        Of the same frame.
    weight
        `ModelCard.site_weight`.

    Returns
    -------
    ndarray
        (n,) logarithm of the likelihood ratio of a vacancy to the host.
    """
    here = deviations.sublattice == SUBLATTICE
    z = deviations.deviation[here] / np.maximum(deviations.error[here], 1e-12)
    usual = np.abs(z) < LOGIT_SIGMAS
    if weight == 0.0 or usual.sum() < 3:
        return np.zeros(len(z))
    slope, level = np.polyfit(z[usual], logit[usual], 1)
    rest = weight * np.clip(logit - level - slope * z, -LONGEST_LOGIT, LONGEST_LOGIT)
    return np.asarray(rest - np.log(np.mean(np.exp(rest))))


@dataclass(frozen=True)
class Outstanding:
    """Columns that differ from their host beyond doubt, whatever the network makes of them; n.

    Attributes
    ----------
    cells, sublattice
        (n, 2) and (n,).
    points
        (n, 2) pixels (x, y).
    probability
        (n,) that the column is not the host's.
    """

    cells: np.ndarray
    sublattice: np.ndarray
    points: np.ndarray
    probability: np.ndarray


def outstanding_columns(deviations: Deviations) -> Outstanding:
    """Find the columns that stand `OUTSTANDING_SIGMAS` out.

    Those that lack something on the second sublattice are left to `judge_vacancies`. The
    probability is Bayes' with a share `EXPECTED_SHARE` of defects, of any height within
    `OUTSTANDING_RANGE` host columns.
    """
    z = deviations.deviation / np.maximum(deviations.error, 1e-12)
    chosen = np.abs(z) > OUTSTANDING_SIGMAS
    chosen &= (deviations.sublattice != SUBLATTICE) | (z > 0.0)
    chosen &= (z < 0.0) | (deviations.deviation > LEAST_ADATOM)
    chosen &= deviations.level < COVERED_LEVEL
    host = np.exp(-0.5 * z[chosen] ** 2) / (deviations.error[chosen] * np.sqrt(2.0 * np.pi))
    defect = EXPECTED_SHARE / OUTSTANDING_RANGE
    return Outstanding(
        deviations.cells[chosen],
        deviations.sublattice[chosen],
        deviations.points[chosen],
        defect / (defect + (1.0 - EXPECTED_SHARE) * host),
    )


def best_threshold(probability: np.ndarray) -> float:
    """Find the threshold that makes the expected F1 greatest, at least `LEAST_THRESHOLD`.

    With k of n sites reported the expected F1 is about ``2 sum of the k / (k + sum of all)``, and
    the best threshold half of the best F1 (Lipton, Elkan and Naryanaswamy, ECML PKDD (2014)): about
    as many are reported as there are.
    """
    # a site adds to the F1 only if it is likelier than half of that: the others need no place
    falling = np.sort(probability[probability >= LEAST_THRESHOLD])[::-1]
    if not len(falling):
        return LEAST_THRESHOLD
    f1 = 2.0 * np.cumsum(falling) / (np.arange(1, len(falling) + 1) + probability.sum())
    return float(max(0.5 * f1.max(), LEAST_THRESHOLD))


def combine(
    found: tuple[np.ndarray, np.ndarray],
    sites: tuple[np.ndarray, np.ndarray],
    vacancies: Vacancies,
    outstanding: Outstanding,
    threshold: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Put the network's detections and the judged sites together, surest first.

    A detection on a judged site, unless the column is bright there, gives way to the site's own
    probability and place; a site that nobody marked joins in, and so does an outstanding column.

    Parameters
    ----------
    found
        Points (n, 2) and probability (n,) of the network's detections.
    sites
        Their cells (n, 2) and sublattice (n,).
    vacancies, outstanding
        The judged sites, and the columns that stand out.
    threshold
        Least probability of a judged site that is reported.

    Returns
    -------
    points, probability
        (m, 2) and (m,).
    """
    points, probability = found
    cells, sublattice = sites
    site = vacancies.find(cells, sublattice)
    judged = site >= 0
    judged[judged] = ~vacancies.bright[site[judged]]
    told = vacancies.probability >= threshold
    marked = {(int(i), int(j), int(s)) for (i, j), s in zip(cells, sublattice, strict=True)}
    places = zip(outstanding.cells, outstanding.sublattice, strict=True)
    alone = np.array([(int(i), int(j), int(s)) not in marked for (i, j), s in places], bool)
    parts = (
        (points[~judged], probability[~judged]),
        (vacancies.points[told], vacancies.probability[told]),
        (outstanding.points[alone], outstanding.probability[alone]),
    )
    points, probability = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    order = np.argsort(-probability, kind="stable")
    return points[order], probability[order]
