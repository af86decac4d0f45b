"""What a device weighs columns by: the constants of `latticewatch.vacancies`."""

from __future__ import annotations

from functools import lru_cache

from latticewatch.vacancies import (
    BRIGHT_SIGMAS,
    COVERED_LEVEL,
    EVIDENCE,
    EXPECTED_SHARE,
    EXPECTED_SITES,
    LEAST_ADATOM,
    LEAST_HOST,
    LEAST_THRESHOLD,
    LOGIT_SIGMAS,
    LONGEST_LOGIT,
    ODD_LEVEL,
    OUTSTANDING_RANGE,
    OUTSTANDING_SIGMAS,
    OVERCLAIM,
    STEPS,
    lacking_shares,
)
from latticewatch_kernels.resident.vacancies import Weighing
from latticewatch_models.crystal import RARER, Crystal
from latticewatch_models.segmentation import SUREST


@lru_cache(maxsize=16)  # of each stream's settings; frames come with settings of their own
def weighing(
    crystal: Crystal | None, threshold: float, vacancy_threshold: float | None, site_weight: float
) -> Weighing:
    """Give what a device weighs columns by.

    Parameters
    ----------
    crystal, threshold, vacancy_threshold
        As `analysis.Analyser` has them.
    site_weight
        `ModelCard.site_weight`.
    """
    return Weighing(
        threshold=threshold,
        vacancy_threshold=-1.0 if vacancy_threshold is None else vacancy_threshold,
        least_host=LEAST_HOST,
        site_weight=site_weight,
        surest=SUREST,
        evidence=EVIDENCE,
        overclaim=OVERCLAIM,
        odd_level=ODD_LEVEL,
        expected_share=EXPECTED_SHARE,
        expected_sites=EXPECTED_SITES,
        rarer=RARER,
        steps=STEPS,
        least_threshold=LEAST_THRESHOLD,
        bright_sigmas=BRIGHT_SIGMAS,
        logit_sigmas=LOGIT_SIGMAS,
        longest_logit=LONGEST_LOGIT,
        outstanding_sigmas=OUTSTANDING_SIGMAS,
        least_adatom=LEAST_ADATOM,
        covered_level=COVERED_LEVEL,
        outstanding_range=OUTSTANDING_RANGE,
        lacking=lacking_shares(crystal),
    )
