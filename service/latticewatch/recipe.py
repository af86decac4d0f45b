"""All that an analysis is repeated by, beside its frames: settings, model, versions, machine."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

from latticewatch.alerting import AlertRule
from latticewatch.config import Settings
from latticewatch.devices.placement import Placement
from latticewatch.doctor import software
from latticewatch.segmenters import Model
from latticewatch.writer import tracker_settings
from latticewatch_models.crystal import crystal_named

#: What the host computes in: images as `conditioning.condition` gives them, and the rest.
HOST_PRECISION = "float32 images, float64 lattices and estimates"

#: Note of a model file that holds other weights than the trained ones; see
#: `latticewatch_models.variants`.
_VARIANT, _AS_TRAINED = "variant", "float32"


def recipe(settings: Settings, model: Model, placement: Placement | None = None) -> dict[str, Any]:
    """Return what a session records when it is begun or gone on with, as plain values.

    Parameters
    ----------
    settings
        The service's.
    model
        The segmenter that it begins with; later ones are in the session's table ``models``.
    placement
        Where frames are analysed; the host by default.
    """
    crystal, gpu = crystal_named(settings.analysis.crystal), placement and placement.gpu
    given = settings.model_dump(
        mode="json", include={"analysis", "segmenter", "calibration", "limits"}
    )
    # the model is described by its content: a path is of this machine alone
    del given["analysis"]["model"], given["analysis"]["crystal"], given["segmenter"]["engines"]
    return {
        "software": software(),
        "machine": {
            "system": platform.platform(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "providers": list(model.segmenter.providers),
            "network_precision": model.segmenter.precision,
            "arrays": "host" if gpu is None else f"cuda:{gpu}",
            "host_precision": HOST_PRECISION,
        },
        "model": _model(model),
        "crystal": {"name": crystal.name, "lattice_constant_nm": crystal.lattice_constant_nm},
        "analysis": given["analysis"],
        "segmenter": given["segmenter"],
        "tracker": asdict(tracker_settings(settings)),
        "calibration": given["calibration"],
        "alerts": {rule.name: _alert(rule) for rule in settings.alert_rules()},
        "limits": given["limits"],
    }


def _alert(rule: AlertRule) -> str:
    """Give a rule in one line."""
    certain = ", its whole interval" if rule.certain else ""
    clear = "" if rule.clear is None else f", ceases at {rule.clear:g}"
    return f"{rule.when}{certain}{clear} ({rule.severity})"


def _model(model: Model) -> dict[str, Any]:
    card, record = model.segmenter.card, model.record
    return {
        "file": Path(record.file or card.path).name,
        "sha256": record.digest,
        "origin": record.origin,
        "weights": card.notes.get(_VARIANT, _AS_TRAINED),
        **record.facts,
        "stride": card.stride,
        "lattice_constant_px": card.lattice_constant_px,
        "scale_range": list(card.scale_range),
        "site_weight": card.site_weight,
    }
