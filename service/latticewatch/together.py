"""What several workers bring is run together, with a bound on what each waits.

The worker who completes a group runs it, or the one who opened it when its time is over; the others
wait for their part of the result. There is no thread beside the workers.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from latticewatch.gathering import Gathering
from latticewatch_models.runtime import Fall

log = logging.getLogger(__name__)

M = TypeVar("M")
R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class _Waiting(Generic[M, R]):
    """What one worker has brought, and what becomes of it."""

    brought: M
    result: Future[R] = field(default_factory=Future)


class Together(Generic[M, R]):
    """Runs what threads bring in groups of the same kind.

    A group that fails is run again one by one, so that each member has its own result or its own
    error. If none of them fails so, and nothing they run on fell, it was their number that failed:
    from then on each runs by itself, and the fall is told.

    Parameters
    ----------
    most
        Members of a group at most; 2 and more. More than there are callers never come together.
    wait_s
        How long the first member of a group waits for others, s.
    run_all, run_one
        Give the results of a group, and of a member by itself.
    fallen
        Gives what changes when that falls which members run on.
    told
        Called with the fall of groups.
    """

    def __init__(
        self,
        most: int,
        wait_s: float,
        *,
        run_all: Callable[[Sequence[M]], Sequence[R]],
        run_one: Callable[[M], R],
        fallen: Callable[[], object],
        told: Callable[[Fall], None],
    ) -> None:
        self._run_all, self._run_one = run_all, run_one
        self._fallen, self._told = fallen, told
        self._gathering: Gathering[_Waiting[M, R]] = Gathering(most)
        self._gate, self._wait_s = threading.Lock(), wait_s
        #: Whether groups are run, still.
        self.works = True

    def run(self, kind: Hashable, brought: M) -> R:
        """Give the result of a member, run with others of its kind that come in time."""
        if not self.works:
            return self._run_one(brought)
        own = _Waiting[M, R](brought)
        with self._gate:
            added = self._gathering.add(kind, own)
        group = added.group
        if added.first:
            self._pause(own.result)
            with self._gate:
                group = self._gathering.take(kind, own)
        self._run_group(group)
        return own.result.result()

    def _pause(self, first: Future[R]) -> None:
        """Wait for others, or until one of them has run the whole group."""
        wait([first], self._wait_s)

    def _run_group(self, group: tuple[_Waiting[M, R], ...]) -> None:
        if not group:
            return
        try:
            results = self._run_all([one.brought for one in group])
        except Exception as error:  # noqa: BLE001  (each is to have its own)
            self._run_each(group, error)
            return
        for one, result in zip(group, results, strict=True):
            one.result.set_result(result)

    def _run_each(self, group: tuple[_Waiting[M, R], ...], error: Exception) -> None:
        """Run members by themselves after all together failed."""
        before, failed = self._fallen(), 0
        for one in group:
            try:
                one.result.set_result(self._run_one(one.brought))
            except Exception as own:  # noqa: BLE001  (raised where it is waited for)
                failed += 1
                one.result.set_exception(own)
        if not failed and len(group) > 1 and self._fallen() == before:
            self._part(len(group), error)

    def _part(self, number: int, error: Exception) -> None:
        """Run members by themselves from now on, unless another worker has said so already."""
        with self._gate:
            told, self.works = not self.works, False
        if told:
            return
        fall = Fall.of(f"batches of {number}", "single frames", error)
        log.error(
            "%s failed (%s) and each frame alone did not: frames go on one by one; lower "
            "segmenter.max_batch and restart the service",
            fall.before, fall.reason,
        )  # fmt: skip
        self._told(fall)
