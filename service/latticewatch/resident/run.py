"""Run frames on a device with the plan of the frame before; again where that is not their own."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from latticewatch.computed import Computed
from latticewatch.detections import Detections
from latticewatch.resident.plans import Plans
from latticewatch.resident.recorded import Recorded
from latticewatch.resident.recordings import Kind, Recordings, Work
from latticewatch.resident.results import refuse, results
from latticewatch.resident.stages import Above, Wanted, registered
from latticewatch.resident.whole import Whole
from latticewatch.resident.work import Asked, Begun, Ended, Frames
from latticewatch.stopwatch import Stopwatch
from latticewatch_kernels.arrays import download, first_line, of_device, out_of_memory, upload
from latticewatch_kernels.deviations import TAIL_SIGMA
from latticewatch_kernels.lattice import Array, FrameFaultError
from latticewatch_kernels.resident.conditioning import conditioned
from latticewatch_kernels.resident.facts import Facts, Refusal
from latticewatch_kernels.resident.parts import LabelsAbove
from latticewatch_kernels.resident.plan import Plan, Room
from latticewatch_models.beside import UnrecordableError
from latticewatch_models.segmentation import Segmentation

#: Runs after which a frame is given up: with another's plan, with its own, and with room doubled
#: until it is a thousand times what frames need.
MOST_RUNS = 12

#: Refusals of stages that a plan has a part in: with the frame's own it may go through.
BY_PLAN = (Refusal.TOO_SMALL, Refusal.NO_SITE, Refusal.NO_ROOM)

#: What becomes of a frame: its detections, or what is wrong with it.
Outcome: TypeAlias = Detections | FrameFaultError


@dataclass(frozen=True)
class Runner:
    """Finds the defects of frames on a device.

    Attributes
    ----------
    wanted
        Settings.
    plans
        Of the frames before.
    recordings
        Of the device.
    gpu
        Its number.
    told
        Called with what the device cannot do, and why; frames go on without.
    """

    wanted: Wanted
    plans: Plans
    recordings: Recordings
    gpu: int
    told: Callable[[str, Exception], None] = lambda *_: None

    def __call__(self, frames: Frames) -> list[Outcome]:
        """Find the defects of frames that are run together.

        Parameters
        ----------
        frames
            (rows, columns), as acquired, all of the same shape and type; a stack of them as one
            array (n, rows, columns) takes the host least.

        Returns
        -------
        list
            For each frame its outcome. What is wrong with it is `FrameContentError` for NaN,
            infinity or a constant frame, `NoLatticeError` where no hexagonal lattice stands out of
            the noise.
        """
        shape = (frames[0].shape[0], frames[0].shape[1])
        done, served = dict[int, Outcome](), list[Plan]()
        plan = self.plans.of(shape)
        if plan and self.wanted.record:
            plan = self.recordings.fitting(self._kind(plan, frames))
        waiting = {plan: [*range(len(frames))]} if plan else self._first(frames, done)
        for run in range(1, MOST_RUNS + 1):
            again = defaultdict[Plan, list[int]](list)
            for plan, places in waiting.items():
                some = frames  # as they are: a stack is one copy
                if len(places) < len(frames):
                    some = [frames[place] for place in places]
                made = self._run(some, plan, run)
                for place, outcome in zip(places, made, strict=True):
                    if isinstance(outcome, Plan):
                        again[outcome].append(place)
                    else:
                        done[place] = outcome
                        served.append(plan)
            if not again:
                break
            waiting = again
        else:
            text = f"a frame of {shape} has no plan that serves it: report this as a fault"
            raise RuntimeError(text)
        if served:
            self.plans.keep(_common(served))
        return [done[place] for place in range(len(frames))]

    def _first(self, frames: Frames, done: dict[int, Outcome]) -> dict[Plan, list[int]]:
        """Look at the first frame of a shape that has a lattice for the plan of all."""
        for place, frame in enumerate(frames):
            try:
                plan = _first_plan(upload(frame), self.wanted)
            except FrameFaultError as fault:
                done[place] = fault
            else:
                return {plan: [*range(place, len(frames))]}
        return {}

    def _run(self, frames: Frames, plan: Plan, run: int) -> list[Outcome | Plan]:
        """Run frames with a plan, for the n-th time; gives the plan of those it does not fit."""
        watch, kind = Stopwatch(), self._kind(plan, frames)
        works = self._recorded(frames, kind)
        wholes = [work for work in works if isinstance(work, Whole)]
        ended = list[Ended]()
        if wholes:
            first = 0
            for work in wholes:
                ended += work.start(frames[first : first + work.size], watch)
                first += work.size
        else:
            apart = [work for work in works if isinstance(work, Recorded)]
            ended = self._by_stages(frames, apart, plan, watch)
        made = list[Outcome | Plan]()
        for labels, brought, ran_on in ended:
            with watch.stage("describe"):
                told = brought()
            computed = Computed.of(ran_on, f"cuda:{self.gpu}")
            made.append(_outcome(told, labels, plan, self.wanted, watch, (computed, run)))
        # what failed before this is not lent again
        self.recordings.give_back(works, kind)
        return made

    def _kind(self, plan: Plan, frames: Frames) -> Kind:
        return plan, self.wanted, frames[0].dtype, self.wanted.segmenter.ran_on

    def _by_stages(
        self, frames: Frames, works: list[Recorded], plan: Plan, watch: Stopwatch
    ) -> list[Ended]:
        """Ask for what is before the network, the network, and what is after it."""
        begun: list[Begun]
        if works:
            begun = [work.begin(one, watch) for work, one in zip(works, frames, strict=True)]
        else:
            given = self.wanted, plan, watch
            begun = [Asked.begin(one, k, *given) for k, one in enumerate(frames)]
        with watch.stage("segment"):
            seen = self._segment([work.before.image for work in begun])
        return [
            Ended(work.before.labels, work.end(one.heat, one.offset, watch), one.ran_on)
            for work, one in zip(begun, seen, strict=True)
        ]

    def _segment(self, images: list[Array]) -> Sequence[Segmentation]:
        """Run the network; frames whose work is recorded have been waited for already."""
        segmenter = self.wanted.segmenter
        if self.wanted.record or images[1:]:
            return segmenter.segment_all(images)
        return [segmenter.segment(images[0])]

    def _recorded(self, frames: Frames, kind: Kind) -> list[Work]:
        """Give recorded work for frames, where there is any; those that are checked have none."""
        if not self.wanted.record or self.wanted.check:
            return []
        try:
            return self.recordings.take(frames, kind)
        except Exception as error:
            unrecordable = isinstance(error, UnrecordableError)
            if not (of_device(error) or unrecordable):
                raise
            if out_of_memory(error) and len(frames) > 1:
                raise  # fewer at a time may well have room
            if self.recordings.give_up(first_line(error)):
                self.told("recorded work", error)
            return []


def _common(served: Sequence[Plan]) -> Plan:
    """Give the plan of most frames; of those that differ in room alone the last, which has most."""
    form, _ = Counter(plan.form for plan in served).most_common(1)[0]
    return [plan for plan in served if plan.form == form][-1]


def _outcome(
    told: Above,
    labels: LabelsAbove,
    plan: Plan,
    wanted: Wanted,
    watch: Stopwatch,
    ran: tuple[Computed | None, int],
) -> Outcome | Plan:
    """Judge what came to the host of a frame; its own plan where that is another."""
    facts = Facts(told.facts)
    try:
        if facts.refusal not in BY_PLAN:
            refuse(facts, told.content, plan.shape)
        own = _own(facts, plan)
        if facts.refusal is Refusal.NO_ROOM or own != plan:
            return own
        refuse(facts, told.content, plan.shape)
    except FrameFaultError as fault:
        return fault
    return results(told, facts, labels, plan, wanted, watch, *ran)


def _first_plan(frame: Array, wanted: Wanted) -> Plan:
    """Look at the first frame of a shape for its plan."""
    image, content = conditioned(frame)
    shape = (image.shape[0], image.shape[1])
    room = Room.at_first(shape)
    values, seen = (part.copy() for part in download([registered(image, wanted, room), content]))
    facts = Facts(values)
    refuse(facts, seen, shape)
    return Plan.of(shape, facts, TAIL_SIGMA, room)


def _own(facts: Facts, plan: Plan) -> Plan:
    """Give the plan that a frame should have been run with."""
    own = Plan.of(plan.shape, facts, TAIL_SIGMA, plan.room)
    if facts.refusal is not Refusal.NO_ROOM or own.room != plan.room:
        return own  # what is known to be needed comes before what is not
    return replace(own, room=own.room.more_for(facts))
