"""The segmenters of a stream: which one each frame is analysed with, and their files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from latticewatch.about import model_facts
from latticewatch.analysis import Analyser
from latticewatch.detections import Detections
from latticewatch.standing import Rule
from latticewatch.storage.schema import StoreError
from latticewatch_models.runtime import ModelError, Segmenter

#: Folder of a stream's self-trained models, in the stream's own.
MODELS_FOLDER = "models"

CONFIGURED, SELF_TRAINED = "configured", "self-trained"

#: Finds the defects of a frame.
Analysis = Callable[[np.ndarray], Detections]

#: Hexadecimal digits of the content hash in a file's name.
_NAME_DIGITS = 16


@dataclass(frozen=True)
class ModelRecord:
    """What the session keeps of a model.

    Attributes
    ----------
    digest
        SHA-256 of the file's content, hexadecimal.
    origin
        ``configured``: what the service was started with; ``self-trained``: made by it.
    file
        Path in the stream's folder of a self-trained one; empty for a configured one.
    reason
        Why it came into use.
    facts
        Its own description, for the statistics; empty where it was read from the session.
    """

    digest: str
    origin: str = CONFIGURED
    file: str = ""
    reason: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Model:
    """A segmenter that is ready to run, and its record."""

    segmenter: Segmenter
    record: ModelRecord

    @classmethod
    def of(cls, segmenter: Segmenter, **fields: str) -> Model:
        """Describe a segmenter by its file's content."""
        digest = hashlib.sha256(Path(segmenter.card.path).read_bytes()).hexdigest()
        return cls(segmenter, ModelRecord(digest, **fields, facts=model_facts(segmenter)))


class ModelInUse:
    """Says for each frame, when it is handed to the workers, what it is analysed with.

    Call it from one thread.

    Parameters
    ----------
    model
        The first model.
    analyser
        The rest of the analysis, whatever the model.
    rule
        Which frames are checked.
    later
        Makes of an analyser the function that analyses a frame when its turn comes.
    """

    def __init__(
        self,
        model: Model,
        analyser: Analyser,
        rule: Rule,
        later: Callable[[Analyser], Analysis] = lambda analyser: analyser,
    ) -> None:
        self.rule, self._later = rule, later
        self.analyser = analyser
        self.swap(model)

    def swap(self, model: Model) -> None:
        """Analyse every frame that is picked from now on with another model."""
        self.model = model
        self.analyser = replace(self.analyser, segmenter=model.segmenter)

    def pick(self, frame: int) -> tuple[Analysis, ModelRecord]:
        """Analysis for the frame of that number, and the record of its model."""
        check = self.rule.checks(frame)
        return self._later(replace(self.analyser, check=check)), self.model.record


def keep(source: Path, folder: Path) -> tuple[Path, str]:
    """Copy a model into a stream's folder under the hash of its content.

    Returns
    -------
    path, file
        Of the copy, which is on the disk then, and its name relative to ``folder``.
    """
    content = source.read_bytes()
    name = f"{hashlib.sha256(content).hexdigest()[:_NAME_DIGITS]}.onnx"
    target = folder / MODELS_FOLDER / name
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(target)
    return target, f"{MODELS_FOLDER}/{name}"


def resumed(
    configured: Model,
    history: list[ModelRecord],
    folder: Path,
    load: Callable[[Path], Segmenter],
) -> Model:
    """Choose the model that a session goes on with: its own last one, or one newly configured.

    Parameters
    ----------
    configured
        What the service was started with.
    history
        Records of the models that the session had, in order.
    folder
        The stream's.
    load
        Makes a segmenter of a file.

    Raises
    ------
    StoreError
        The session's own model is missing or not what it was.
    """
    if not history:
        return configured
    before = next((r.digest for r in reversed(history) if r.origin == CONFIGURED), None)
    if before not in (None, configured.record.digest):
        reason = "the service was started with another model"
        return replace(configured, record=replace(configured.record, reason=reason))
    last = history[-1]
    if last.origin == CONFIGURED:
        return configured
    path = folder / last.file
    mend = "restore it, or start the service with another --model"
    try:
        model = Model.of(load(path), origin=SELF_TRAINED, file=last.file, reason=last.reason)
    except (ModelError, OSError) as error:
        raise StoreError(
            f"{path}: the session's own model cannot be had ({error}): {mend}"
        ) from error
    if model.record.digest != last.digest:
        raise StoreError(f"{path} is not the model that the session goes on with: {mend}")
    return model
