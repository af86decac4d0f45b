"""Run a frame on a device with the plan of the frame before; again where that is not its own."""

from __future__ import annotations

from collections.abc import Callable

from latticewatch.detections import Detections
from latticewatch.resident.plans import Plans
from latticewatch.resident.recorded import Recorded
from latticewatch.resident.results import brought, refuse, results
from latticewatch.resident.stages import (
    Above,
    Wanted,
    after_network,
    before_network,
    registered,
)
from latticewatch.stopwatch import Stopwatch
from latticewatch_kernels.arrays import download, first_line, of_device
from latticewatch_kernels.deviations import TAIL_SIGMA
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.resident.conditioning import conditioned
from latticewatch_kernels.resident.facts import Facts, Refusal
from latticewatch_kernels.resident.parts import LabelsAbove
from latticewatch_kernels.resident.plan import Plan, Room
from latticewatch_models.segmentation import RanOn

#: Runs after which a frame is given up: with another's plan, with its own, and with room doubled
#: until it is a thousand times what frames need.
MOST_RUNS = 12

#: Refusals of stages that a plan has a part in: with the frame's own it may go through.
BY_PLAN = (Refusal.TOO_SMALL, Refusal.NO_SITE, Refusal.NO_ROOM)


def analysed(
    frame: Array,
    wanted: Wanted,
    plans: Plans,
    told: Callable[[str, Exception], None] = lambda *_: None,
) -> tuple[Detections, RanOn | None]:
    """Find the defects of a frame on a device.

    Parameters
    ----------
    frame
        (rows, columns) on the device, as acquired.
    wanted
        Settings.
    plans
        Of the frames before.
    told
        Called with what the device cannot do, and why; the frame goes on without.

    Returns
    -------
    detections, ran_on
        The second is what the network ran on.

    Raises
    ------
    FrameContentError
        NaN, infinity or a constant frame.
    NoLatticeError
        No hexagonal lattice stands out of the noise.
    """
    watch, shape = Stopwatch(), (frame.shape[0], frame.shape[1])
    plan = plans.of(shape) or _first(frame, wanted)
    for run in range(1, MOST_RUNS + 1):
        recorded = _recorded(frame, wanted, plan, plans, told)
        if recorded is not None:
            below, labels, ran_on = _by_recording(frame, wanted, recorded, watch)
        else:
            below, labels, ran_on = _asked(frame, wanted, plan, watch)
        facts = Facts(below.facts)
        if facts.refusal not in BY_PLAN:
            refuse(facts, below.content, shape)
        own = _own(facts, plan)
        if facts.refusal is not Refusal.NO_ROOM and own == plan:
            plans.keep(plan, run)
            refuse(facts, below.content, shape)
            return results(below, labels, plan, wanted, watch), ran_on
        plan = own
    raise RuntimeError(f"a frame of {shape} has no plan that serves it: report this as a fault")


def _recorded(
    frame: Array,
    wanted: Wanted,
    plan: Plan,
    plans: Plans,
    told: Callable[[str, Exception], None],
) -> Recorded | None:
    """Give the recorded work for a frame, where there is any; frames that are checked have none."""
    if not wanted.record or wanted.check:
        return None
    try:
        return plans.recordings.of(frame, wanted, plan)
    except Exception as error:
        if not of_device(error):
            raise
        if plans.recordings.give_up(first_line(error)):
            told("recorded work", error)
        return None


def _by_recording(
    frame: Array, wanted: Wanted, recorded: Recorded, watch: Stopwatch
) -> tuple[Above, LabelsAbove, RanOn | None]:
    """Have all of a frame done by recorded work, and bring what is wanted to the host."""
    seen = recorded.run(frame, wanted, watch)
    with watch.stage("describe"), recorded.stream:
        below = brought(recorded.above)
    return below, recorded.before.labels, seen.ran_on


def _asked(
    frame: Array, wanted: Wanted, plan: Plan, watch: Stopwatch
) -> tuple[Above, LabelsAbove, RanOn | None]:
    """Ask for everything of a frame, and bring what is wanted to the host."""
    before = before_network(frame, wanted, plan, watch)
    with watch.stage("segment"):
        seen = wanted.segmenter.segment(before.image)
    above = after_network(before, seen.heat, seen.offset, wanted, plan, watch)
    with watch.stage("describe"):
        return brought(above), before.labels, seen.ran_on


def _first(frame: Array, wanted: Wanted) -> Plan:
    """Look at the first frame of a shape for its plan."""
    (image, content), room = conditioned(frame), Room()
    shape = (image.shape[0], image.shape[1])
    values, seen = (part.copy() for part in download([registered(image, wanted, room), content]))
    facts = Facts(values)
    refuse(facts, seen, shape)
    return Plan.of(shape, facts, TAIL_SIGMA, room)


def _own(facts: Facts, plan: Plan) -> Plan:
    """Give the plan that a frame should have been run with."""
    short = facts.refusal is Refusal.NO_ROOM
    room = plan.room.doubled() if short else plan.room
    return Plan.of(plan.shape, facts, TAIL_SIGMA, room)
