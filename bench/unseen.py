"""Whether a defect is found whose kind the network was never shown.

    python -m latticewatch_models.training --out unseen.onnx --iterations 6000 \
        --leave-out VW VMo VC
    python bench/unseen.py --model unseen.onnx --frames 40

Prints how many of each species are found, names aside, by the model given and by the shipped one on
the same simulated frames, and the precision of marks on metal sites.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from latticewatch_models.runtime import Segmenter
from latticewatch_models.validation import SITE_SPECIES, judge, validation_frame

SPECIES = ("VW", "MoW", "VS", "VS2", "adatom")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="trained without some species")
    parser.add_argument("--frames", type=int, default=40, help="to a dose (%(default)s)")
    parser.add_argument("--doses", type=float, nargs="+", default=[400.0, 1600.0, 6400.0])
    options = parser.parse_args()
    models = {
        options.model.stem: Segmenter(options.model, threads=1),
        "shipped": Segmenter(threads=1),
    }
    names = "".join(f" {species} recall |" for species in SPECIES)
    print(f"| dose, e/px | model |{names} metal-site precision | F1, all |")
    print("|---" * (len(SPECIES) + 4) + "|")
    for dose in options.doses:
        frames = [validation_frame(dose, k) for k in range(options.frames)]
        for name, model in models.items():
            score = judge(model.segment, frames).score
            cells = [score.recall([species]) for species in SPECIES]
            cells += [score.precision(SITE_SPECIES["metal"], ["metal"]), score.f1()]
            print(f"| {dose:g} | {name} | " + " | ".join(f"{c:.3f}" for c in cells) + " |")


if __name__ == "__main__":
    main()
