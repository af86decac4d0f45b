"""Settings of the tracker, each default with its reason."""

from __future__ import annotations

from dataclasses import dataclass

#: Word that has the number of classes chosen by the Bayesian information criterion.
BIC = "bic"
#: Most class numbers: what is kept by class must fit the state that is saved with every frame.
MOST_ROOM = 32


@dataclass(frozen=True)
class TrackerSettings:
    """What a user may change about the tracker.

    Attributes
    ----------
    classes
        Components of the Gaussian mixture at the start: a number, or ``"bic"`` for the one of 1 to
        `most_classes` with the least Bayesian information criterion. Five, as in Maksov et al.
        (2019).
    most_classes
        Class numbers that a session may ever give out, those of classes that split off later
        included; a number is never used twice. Eight leave room for three splits.
    covariance
        ``"full"``, or ``"diagonal"`` where the warm-up is too short for the former's parameters.
    warm_up
        Descriptors gathered before basis and mixture are fitted; until then ``class_id`` is -1.
        500 are five or six frames of the reference movie, 100 for each of five classes.
    components
        Principal components of the patch that join the measured intensities in a descriptor.
    step_exponent
        Exponent of the stepwise EM's step, (k + 2)^-exponent; convergence asks for a value in
        (0.5, 1] (Cappe and Moulines 2009), 0.6 to 0.7 keep adapting longest.
    batch
        Descriptors that one step of the stepwise EM waits for. A frame that brings more makes one
        step as large as so many.
    covariance_floor
        Least eigenvalue of a class covariance, in squared host column intensities, if the measured
        variance of one column's intensity is not larger: no class is narrower than the noise, and
        without this a class may settle on one defect that is seen again and again.
    starts
        Seeded starts of the warm fit; the best likelihood is kept. With five classes for more
        kinds of defects there are many optima (docs/tracker/classes.md).
    seed
        Seed of those starts: the only randomness in the tracker.
    max_gap_frames
        Frames that a track may go unseen and still be continued.
    hop_cost, change_cost, sublattice_cost, end_cost
        Link costs in nats: moving to a neighbouring site, changing species on the spot, changing
        sublattice, and ending one track plus starting another (the price of not linking). A hop
        costs -ln(mu / 6) for mu hops a frame to any of six neighbours: 0.11 of them at 4 nats, 0.14
        at the simulator's rates. Not linking is a defect missed (5 %, 3 nats) and a new or false
        one on that very site (1 in 1,000, 7 nats).
    intensity_systematic
        Relative systematic error (one standard deviation) allowed to the intensity scale, as a
        share of the host column of the sublattice and of the expected intensity.
    bound_vacancy_prior
        Prior share of dopants with a vacant neighbour, split evenly over the three directions.
    species_change, state_change
        Chance per frame that a defect changes its species on the spot, and that a dopant changes
        its state: how fast belief from earlier frames fades. The second is only a start; the
        filter goes on with the transition matrix that it infers.
    repeat_share
        Share of the error variance of a column's intensity that stays with its site from frame to
        frame. It is 0.25 to 0.5 on simulated WS2 under patchy contamination at the reference dose;
        more than 0.25 makes the filter slower than the changes that it is to see.
    vacancy_threshold
        Least probability, given all frames so far, of a vacancy that is reported on sublattice 1;
        None takes what makes the expected F1 of the frame greatest.
    credible
        Probability inside every published interval.
    """

    classes: int | str = 5
    most_classes: int = 8
    covariance: str = "full"
    warm_up: int = 500
    components: int = 4
    step_exponent: float = 0.7
    batch: int = 100
    covariance_floor: float = 1e-4
    starts: int = 16
    seed: int = 0
    max_gap_frames: int = 3
    hop_cost: float = 4.0
    change_cost: float = 1.0
    sublattice_cost: float = 2.0
    end_cost: float = 10.0
    intensity_systematic: float = 0.1
    bound_vacancy_prior: float = 0.5
    species_change: float = 0.02
    state_change: float = 0.2
    repeat_share: float = 0.25
    vacancy_threshold: float | None = None
    credible: float = 0.95

    def __post_init__(self) -> None:
        self._check_mixture()
        if not 0.5 < self.step_exponent <= 1.0:
            raise ValueError(f"step_exponent is {self.step_exponent}: it must lie in (0.5, 1]")
        if self.batch < 1 or self.components < 1 or self.starts < 1:
            raise ValueError("batch, components and starts must be at least 1")
        if self.covariance_floor <= 0:
            raise ValueError(f"covariance_floor is {self.covariance_floor}: it must be positive")
        if self.max_gap_frames < 0:
            raise ValueError(f"max_gap_frames is {self.max_gap_frames}: it cannot be negative")
        if not 0 <= self.repeat_share < 1:
            raise ValueError(f"repeat_share is {self.repeat_share}: it must lie in [0, 1)")
        for name in ("bound_vacancy_prior", "species_change", "state_change", "credible"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must lie in (0, 1)")

    @property
    def class_choices(self) -> tuple[int, ...]:
        """Numbers of components that are tried at warm-up."""
        if isinstance(self.classes, str):
            return tuple(range(1, self.most_classes + 1))
        return (self.classes,)

    @property
    def room(self) -> int:
        """Class numbers that a session may ever give out: the length of what is kept by class."""
        return max(self.most_classes, *self.class_choices)

    def _check_mixture(self) -> None:
        if isinstance(self.classes, str) and self.classes != BIC:
            raise ValueError(f'classes is {self.classes!r}: give a number or "{BIC}"')
        if not isinstance(self.classes, str) and self.classes < 1:
            raise ValueError(f"classes is {self.classes}: give at least 1")
        if not 1 <= self.most_classes <= MOST_ROOM:
            raise ValueError(f"most_classes is {self.most_classes}: give 1 to {MOST_ROOM}")
        if self.covariance not in ("full", "diagonal"):
            raise ValueError(f'covariance is {self.covariance!r}: give "full" or "diagonal"')
        most = max(self.class_choices)
        if self.warm_up < 10 * most:
            raise ValueError(
                f"warm_up is {self.warm_up}: give at least ten detections a class, "
                f"{10 * most} for {most} classes"
            )
