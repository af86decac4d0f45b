"""What made a result: versions and model, as the statistics and the report carry them."""

from __future__ import annotations

from typing import Any

from latticewatch import __version__
from latticewatch_models.runtime import Segmenter


def about(segmenter: Segmenter) -> dict[str, Any]:
    """Return software versions and the segmenter's card in plain values."""
    return {"software": {"latticewatch": __version__}, "model": model_facts(segmenter)}


def model_facts(segmenter: Segmenter) -> dict[str, Any]:
    """Return the segmenter's card in plain values."""
    card = segmenter.card
    return {
        "version": card.version,
        "seed": card.seed,
        "iterations": card.iterations,
        "providers": list(segmenter.providers),
    }
