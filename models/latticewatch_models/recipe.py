"""What a training run of the segmenter depends on."""

from __future__ import annotations

from dataclasses import dataclass, field

from latticewatch_models.network import NetworkSettings


@dataclass(frozen=True)
class TrainSettings:
    """What a training run depends on; the same settings give the same run on the same machine.

    Attributes
    ----------
    seed
        Of the network's first weights and of all scenes.
    iterations
        Steps of the optimiser.
    scenes_per_step, crops_per_scene, crop_px
        A step sees ``scenes_per_step * crops_per_scene`` crops of ``crop_px`` pixels a side. Many
        scenes of few crops: batch normalisation learns what the crops of one scene share.
    learning_rate
        Highest rate of the one-cycle schedule (Smith and Topin, arXiv:1708.07120 (2017)).
    calibration_scenes
        Scenes, never trained on, that the probabilities are calibrated on.
    workers
        Processes that simulate scenes beside the one that trains; 0 simulates in turn.
    threads
        Threads of the one that trains. On crops this small the first does most of the work: a step
        takes 33 ms of one core, about as long as one worker needs for its scenes.
    network
        Form and size of the network.
    leave_out
        Species that no simulated scene shows, to see whether they are found all the same.
    """

    seed: int = 1
    iterations: int = 10000
    scenes_per_step: int = 4
    crops_per_scene: int = 2
    crop_px: int = 128
    learning_rate: float = 3e-3
    calibration_scenes: int = 400
    workers: int = 1
    threads: int = 1
    network: NetworkSettings = field(default_factory=NetworkSettings)
    leave_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"iterations is {self.iterations}: give at least 1")
        if self.crop_px % 16:
            raise ValueError(f"crop_px is {self.crop_px}: give a multiple of 16")
