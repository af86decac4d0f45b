"""The accuracy bench: detections against the truth of simulated frames, beside limit and peers.

    python bench/accuracy.py [--frames N] [--doses E ...] [--out DIR] [--model FILE] [--docs]
                             [--doses-only] [--no-peers] [--venv DIR] [--cycles N]

Writes ``accuracy.md``, ``accuracy.json`` and pictures to DIR; with ``--docs`` the tables also go
between the markers of docs/accuracy.md, and the pictures to docs/images. FFT subtraction always
runs along; AtomAI and scikit-image run in an environment of their own, which is made on first use,
and their answers are kept in DIR for the next run on the same frames.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from judging import peers, plots, report
from judging.frames import Condition
from judging.limit import Limit, ideal, ideal_on
from judging.measure import Result, bare_frames, figures, measure, test_frames
from judging.ours import Ours
from judging.peers import Outcome
from judging.statistical import statistical_on

from latticewatch_models.validation import DOSES

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "accuracy.md"
START, END = "<!-- measured: start -->", "<!-- measured: end -->"

#: The dose that the targets, rotation and magnification are told for.
DOSE = 1600.0
READ_AS = (
    "As the service reports / at the best threshold for the species / ideal observer on these "
    "frames / ideal observer on a clean crystal."
)
VACANCIES = (
    "F1 of S vacancies: as the service reports, and how far that is from three observers, whose F1 "
    "stands beside it. The ideal observer knows every pixel's mean on these frames, the "
    "contamination's height and grain included; the second knows crystal, probe, noise and, of the "
    "contamination, the mean and covariance alone; the third looks at a clean crystal."
)
ROTATIONS = (0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0)
MAGNIFICATIONS = (0.5, 0.7, 0.85, 1.0, 1.25, 1.6, 2.0)


@dataclass(frozen=True)
class Measured:
    """All that the report tells: by dose, rotation and magnification.

    ``limits`` are those of the frames that were judged, ``clean`` those of a clean crystal, and
    ``statistical`` those of the observer who knows contamination by its statistics alone.
    """

    results: dict[float, Result]
    limits: dict[float, Limit]
    clean: dict[float, Limit]
    statistical: dict[float, Limit]
    rivals: dict[str, dict[float, Outcome]]
    notes: list[str]
    rotations: dict[float, Result]
    magnifications: dict[float, Result]
    stride: int

    @property
    def told(self) -> float:
        """The dose that is told in detail."""
        return DOSE if DOSE in self.results else max(self.results)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=40, help="frames to a dose (default 40)")
    parser.add_argument("--doses", type=float, nargs="+", default=list(DOSES), metavar="E")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "out" / "accuracy")
    parser.add_argument("--model", type=Path, help="ONNX file; the shipped model without")
    parser.add_argument("--docs", action="store_true", help="renew docs/accuracy.md as well")
    parser.add_argument(
        "--doses-only", action="store_true", help="leave rotation and magnification out"
    )
    parser.add_argument("--no-peers", action="store_true", help="leave AtomAI and blob_log out")
    parser.add_argument("--venv", type=Path, default=REPOSITORY / ".venv-peer")
    parser.add_argument("--cycles", type=int, default=200, help="mini-batches to train AtomAI")
    options = parser.parse_args(arguments)
    begin = time.perf_counter()
    options.out.mkdir(parents=True, exist_ok=True)
    measured = gather(options)
    draw(measured, options.out)
    spent = f"{time.strftime('%Y-%m-%d')}, {time.perf_counter() - begin:.0f} s."
    text = f"{compose(measured)}\n{command(options)}\n\n{spent}\n"
    write(text, measured, options.out, docs=options.docs)
    print(text)
    return 0


def command(options: argparse.Namespace) -> str:
    """Give the command that measures the same; where things lie on this machine is left out."""
    parts = ["python bench/accuracy.py --frames", str(options.frames), "--doses"]
    parts += [f"{dose:g}" for dose in options.doses]
    if options.model:
        parts += ["--model", options.model.name]
    parts += ["--doses-only"] if options.doses_only else []
    parts += ["--no-peers"] if options.no_peers else ["--cycles", str(options.cycles)]
    return "    " + " ".join(parts)


def gather(options: argparse.Namespace) -> Measured:
    """Run every detector on every frame."""
    ours = Ours.load(options.model)
    number = options.frames
    frames = {dose: test_frames(Condition(dose), number) for dose in options.doses}

    def statistical(dose: float) -> Limit:
        condition = Condition(dose)
        return statistical_on(frames[dose], bare_frames(condition, number), condition)

    def under(condition: Condition) -> Result:
        return measure(ours, condition, test_frames(condition, number))

    rivals, notes = run_peers(options, frames)
    turns, sizes = ((), ()) if options.doses_only else (ROTATIONS, MAGNIFICATIONS)
    return Measured(
        {dose: measure(ours, Condition(dose), some) for dose, some in frames.items()},
        {dose: ideal_on(some, Condition(dose)) for dose, some in frames.items()},
        {dose: ideal(Condition(dose)) for dose in options.doses},
        {dose: statistical(dose) for dose in options.doses},
        rivals,
        notes,
        {angle: under(Condition(DOSE, rotation_deg=angle)) for angle in turns},
        {size: under(Condition(DOSE, magnification=size)) for size in sizes},
        ours.analyser.segmenter.stride,
    )


def run_peers(
    options: argparse.Namespace, frames: peers.Sets
) -> tuple[dict[str, dict[float, Outcome]], list[str]]:
    """Peers' outcomes by name, and what is to be said of them."""
    tuning = peers.tuning_frames(options.doses)
    rivals = peers.fft_outcomes(tuning, frames)
    chosen = (
        f"All settings but those as published were chosen for each dose as the best of "
        f"{peers.TUNING_FRAMES} frames that are not judged."
    )
    if options.no_peers:
        return rivals, [chosen, "AtomAI and scikit-image: left out."]
    kept = options.out / "peers.json"
    try:
        guests, facts = peers.guest_outcomes(tuning, frames, options.venv, options.cycles, kept)
    except RuntimeError as error:
        return rivals, [chosen, f"AtomAI and scikit-image: not measured: {error}"]
    return rivals | guests, [f"{chosen} {report.training_text(facts)}"]


def compose(measured: Measured) -> str:
    """Put the tables and pictures together, Markdown."""
    told, results, limits = measured.told, measured.results, measured.limits
    parts = [
        report.counted(results),
        "### F1 by species",
        READ_AS,
        report.species_table(results, limits, measured.clean),
        picture("doses", "F1 by dose"),
        "### Vacancies and what hides them",
        VACANCIES,
        report.vacancy_table(results, limits, measured.clean, measured.statistical),
        "### Beside the peers",
        "F1 over all defects, names aside.",
        report.peers_table(results, limits, measured.rivals),
        f"At {told:g} electrons a pixel: precision, recall, and recall by species.",
        report.recall_table(told, results[told], limits[told], measured.rivals),
        picture("curves", "Precision against recall"),
        *measured.notes,
        "### Calibration and positions",
        report.quality_table(results, measured.stride),
        picture("reliability", "Reliability by dose"),
        picture("positions", "Position errors by place in the pixel"),
    ]
    if measured.rotations:
        parts += [
            "### Rotation",
            f"{DOSE:g} electrons a pixel.",
            report.robustness_table("rotation, degrees", measured.rotations),
            "### Magnification",
            f"The same field of view and dose per area: {DOSE:g} electrons a pixel of 0.03 nm.",
            report.robustness_table("magnification", measured.magnifications),
        ]
    return "\n\n".join(parts) + "\n"


def picture(name: str, title: str) -> str:
    return f"![{title}](images/accuracy-{name}.png)"


def draw(measured: Measured, folder: Path) -> None:
    """Draw all pictures into a folder's ``images``."""
    images = folder / "images"
    images.mkdir(exist_ok=True)
    told = measured.results[measured.told]
    limits, rivals = measured.limits, measured.rivals
    plots.by_dose(measured.results, limits, rivals, images / "accuracy-doses.png")
    plots.curves(told, limits[measured.told], rivals, images / "accuracy-curves.png")
    plots.reliability(measured.results, images / "accuracy-reliability.png")
    plots.positions(told, measured.stride, images / "accuracy-positions.png")


def write(text: str, measured: Measured, folder: Path, *, docs: bool) -> None:
    """Write tables and numbers, and renew the page in docs where wanted."""
    (folder / "accuracy.md").write_text(text, encoding="utf-8")
    sets = (measured.results, measured.rotations, measured.magnifications)
    numbers = [figures(result) for some in sets for result in some.values()]
    (folder / "accuracy.json").write_text(json.dumps(numbers, indent=1), encoding="utf-8")
    if not docs:
        return
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{START}\n\n{text}\n{END}{after}", encoding="utf-8")
    for image in (folder / "images").glob("accuracy-*.png"):
        shutil.copy(image, PAGE.parent / "images")


if __name__ == "__main__":
    sys.exit(main())
