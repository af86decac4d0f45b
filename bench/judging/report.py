"""The bench's tables in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from judging.counting import SPECIES, Tally
from judging.limit import Limit
from judging.measure import Result
from judging.peers import Outcome
from judging.positions import locking

Results = Mapping[float, Result]
Limits = Mapping[float, Limit]
Peers = Mapping[str, Mapping[float, Outcome]]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def species_table(results: Results, limits: Limits, clean: Limits) -> str:
    """F1 by species: as the service reports / at the best threshold / the two ideal observers'."""
    rows = [
        [
            f"{dose:g}",
            *(
                f"{r.sure.named_f1(s):.3f} / {r.best_f1(s):.3f} / "
                f"{limits[dose].named_f1[s]:.3f} / {clean[dose].named_f1[s]:.3f}"
                for s in SPECIES
            ),
        ]
        for dose, r in results.items()
    ]
    return table(["dose, e/px", *SPECIES], rows)


def vacancy_table(results: Results, limits: Limits, clean: Limits, statistical: Limits) -> str:
    """F1 of VS and VS2 beside three observers', and the gaps between."""
    rows = []
    for dose, r in results.items():
        for species in ("VS", "VS2"):
            own = r.sure.named_f1(species)
            others = [some[dose].named_f1[species] for some in (limits, statistical, clean)]
            gaps = [f"{other:.3f} ({other - own:+.3f})" for other in others]
            rows.append([f"{dose:g}", species, f"{own:.3f}", *gaps])
    header = [
        "dose, e/px",
        "species",
        "latticewatch",
        "ideal observer (gap)",
        "knows contamination's statistics (gap)",
        "clean crystal (gap)",
    ]
    return table(header, rows)


def peers_table(results: Results, limits: Limits, peers: Peers) -> str:
    """F1 over all species, names aside, by dose and detector."""
    rows = [
        [
            f"{dose:g}",
            f"{limits[dose].f1:.3f}",
            f"**{r.sure.f1():.3f}**",
            *(f"{outcomes[dose].tally.f1():.3f}" for outcomes in peers.values()),
        ]
        for dose, r in results.items()
    ]
    return table(["dose, e/px", "ideal observer", "latticewatch", *peers], rows)


def recall_table(dose: float, result: Result, limit: Limit, peers: Peers) -> str:
    """Precision, and recall by species, of every detector at one dose."""
    ideal = [limit.precision, limit.recall, *limit.recall_by_species.values()]
    rows = [["ideal observer", "", *(f"{value:.3f}" for value in ideal)]]
    rows.append(["latticewatch", "", *_recalls(result.sure)])
    for name, outcomes in peers.items():
        rows.append([name, outcomes[dose].setting, *_recalls(outcomes[dose].tally)])
    return table(["", "setting", "precision", "recall", *SPECIES], rows)


def _recalls(tally: Tally) -> list[str]:
    values = [tally.precision(), tally.recall(), *(tally.recall(s) for s in SPECIES)]
    return [f"{value:.3f}" for value in values]


def quality_table(results: Results, stride: int) -> str:
    """Calibration and positions by dose."""
    rows = []
    for dose, r in results.items():
        tally = r.sure
        locks = [
            locking(tally.place, tally.error, 1, 0),
            locking(tally.place, tally.error, stride, (stride - 1) / 2),
        ]
        rows.append(
            [
                f"{dose:g}",
                f"{r.calibration_error:.3f}",
                f"{len(r.all_claimed.score)}",
                f"{r.position_error_nm:.4f}",
                ", ".join(f"{shift:+.3f}" for shift in tally.error.mean(axis=0)),
                *(f"{lock.amplitude_px:+.3f} ± {lock.error_px:.3f}" for lock in locks),
                f"{r.no_lattice}",
            ]
        )
    header = [
        "dose, e/px",
        "ECE",
        "claims at 0.1 and more",
        "position error, nm RMS",
        "mean error x, y, px",
        "drawn to pixels, px",
        f"drawn to cells of {stride} px, px",
        "frames without lattice",
    ]
    return table(header, rows)


def robustness_table(label: str, results: Mapping[float, Result]) -> str:
    """F1 over rotation or magnification, and how far it moves."""
    rows = [[f"{value:g}", *_texts(_robust(r))] for value, r in results.items()]
    columns = list(zip(*(_robust(r) for r in results.values()), strict=True))
    rows.append(["moves by", *_texts([max(column) - min(column) for column in columns])])
    header = [label, "F1, names aside", *SPECIES[:3], "position error, pm RMS"]
    return table(header, rows)


def _texts(values: list[float]) -> list[str]:
    return [*(f"{value:.3f}" for value in values[:-1]), f"{values[-1]:.1f}"]


def _robust(result: Result) -> list[float]:
    tally = result.sure
    named = [tally.named_f1(species) for species in SPECIES[:3]]
    return [tally.f1(), *named, 1000 * result.position_error_nm]


def counted(results: Results) -> str:
    """How many defects there were to find."""
    first = next(iter(results.values())).sure
    parts = ", ".join(f"{number} {species}" for species, number in first.true.items())
    return f"{first.frames} frames of 256 x 256 to a dose, the same specimens at each: {parts}."


def training_text(facts: Mapping[str, Any]) -> str:
    return (
        f"{facts['tool']}: `Segmentor()` with its defaults (Unet, 16 filters, one class), trained "
        f"once by its `fit` with `rotation=True` on {facts['frames']} simulated frames of all "
        f"doses with masks of the defects ({facts['crops']} crops of {facts['crop']} px), "
        f"{facts['cycles']} mini-batches of {facts['batch']}, {facts['training_s']:.0f} s on one "
        f"thread; `SegPredictor` and `Locator` frame by frame. {facts['blob_tool']}: `blob_log` "
        "on the best of four pictures (bright, dark, less a Gaussian, FFT residual)."
    )
