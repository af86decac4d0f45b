"""What a run of self-training says of itself: the card beside the model."""

from __future__ import annotations

from dataclasses import dataclass

from latticewatch_models.scoring import Score


@dataclass(frozen=True)
class TrainingReport:
    """A run of self-training.

    Attributes
    ----------
    source
        Movie and frames.
    labelled
        Defects labelled in what was trained on.
    whole_frames
        Whether whole frames were kept from training, or the last rows of the only one.
    iterations, seed
        Of the run.
    score
        Agreement with the labels on what was kept.
    seconds
        From the first frame read to the model judged.
    """

    source: str
    labelled: int
    whole_frames: bool
    iterations: int
    seed: int
    score: Score
    seconds: float

    def summary(self) -> str:
        """Say how well model and labels agree, in a line."""
        total = sum(self.score.hits.values()) + sum(self.score.misses.values())
        if not total:
            return f"no defect is labelled in {self._kept()}: nothing to hold the model against"
        return (
            f"in {self._kept()}: of {total} labelled defects {sum(self.score.hits.values())} found,"
            f" {sum(self.score.false_alarms.values())} marks that no label agrees with,"
            f" {self.seconds:.0f} s in all"
        )

    def markdown(self, name: str) -> str:
        """Write the card of the model of that file name."""
        score = self.score
        rows = [
            f"| {kind} | {score.hits.get(kind, 0)} | {score.misses.get(kind, 0)} |"
            for kind in ("bright", "dark")
        ]
        alarms = sum(score.false_alarms.values())
        taught = (
            f"Trained on {self.source}, labelled by their Bragg peaks ({self.labelled} defects); "
            "no human and no simulator had a part in the labels. "
            f"{self.iterations} steps, seed {self.seed}, {self.seconds:.0f} s "
            "with labelling and checks. ONNX Runtime and torch agree."
        )
        counted = (
            f"{alarms} marks have no label; F1 {score.f1():.3f}, distance "
            f"{score.position_error():.2f} px RMS. Sites that the labels leave in doubt (2.5 to 4 "
            "standard deviations) are not counted."
        )
        warning = (
            "Labels are no truth: agreement says that the model learnt what it was taught. "
            "It is made for this specimen, at doses from an eighth of this frame's to three times "
            "it. Single vacancies on light columns, which the labels do not see in one frame, it "
            "hardly marks."
        )
        lines = [
            f"# {name}: a segmenter trained on its own labels",
            taught,
            f"Kept from training: {self._kept()}. There, at a probability of 0.5 and more:",
            "\n".join(["| labelled | found | missed |", "|---|---|---|", *rows]),
            counted,
            warning,
        ]
        return "\n\n".join(lines) + "\n"

    def _kept(self) -> str:
        return "the last quarter of the " + ("frames" if self.whole_frames else "frame's rows")
