"""Run a frame on a device with the plan of the frame before; again where that is not its own."""

from __future__ import annotations

from latticewatch.detections import Detections
from latticewatch.resident.plans import Plans
from latticewatch.resident.results import brought, refuse, results
from latticewatch.resident.stages import Wanted, asked, registered
from latticewatch.stopwatch import Stopwatch
from latticewatch_kernels.arrays import download
from latticewatch_kernels.conditioning import conditioned
from latticewatch_kernels.deviations import TAIL_SIGMA
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.resident.facts import Facts, Refusal
from latticewatch_kernels.resident.plan import Plan, Room
from latticewatch_models.segmentation import RanOn

#: Runs after which a frame is given up: with another's plan, with its own, and with room doubled
#: until it is a thousand times what frames need.
MOST_RUNS = 12

#: Refusals of stages that a plan has a part in: with the frame's own it may go through.
BY_PLAN = (Refusal.TOO_SMALL, Refusal.NO_SITE, Refusal.NO_ROOM)


def analysed(frame: Array, wanted: Wanted, plans: Plans) -> tuple[Detections, RanOn | None]:
    """Find the defects of a frame on a device.

    Parameters
    ----------
    frame
        (rows, columns) on the device, as acquired.
    wanted
        Settings.
    plans
        Of the frames before.

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
    with watch.stage("condition"):
        image, content = conditioned(frame)
    plan = plans.of(shape) or _first(image, content, wanted)
    for run in range(1, MOST_RUNS + 1):
        above, labels, ran_on = asked(image, content, wanted, plan, watch)
        with watch.stage("describe"):
            told = brought(above)
        facts = Facts(told.facts)
        if facts.refusal not in BY_PLAN:
            refuse(facts, told.content, shape)
        own = _own(facts, plan)
        if facts.refusal is not Refusal.NO_ROOM and own == plan:
            plans.keep(plan, run)
            refuse(facts, told.content, shape)
            return results(told, labels, plan, wanted, watch), ran_on
        plan = own
    raise RuntimeError(f"a frame of {shape} has no plan that serves it: report this as a fault")


def _first(image: Array, content: Array, wanted: Wanted) -> Plan:
    """Look at the first frame of a shape for its plan."""
    shape, room = (image.shape[0], image.shape[1]), Room()
    values, seen = (part.copy() for part in download([registered(image, wanted, room), content]))
    facts = Facts(values)
    refuse(facts, seen, shape)
    return Plan.of(shape, facts, TAIL_SIGMA, room)


def _own(facts: Facts, plan: Plan) -> Plan:
    """Give the plan that a frame should have been run with."""
    short = facts.refusal is Refusal.NO_ROOM
    room = plan.room.doubled() if short else plan.room
    return Plan.of(plan.shape, facts, TAIL_SIGMA, room)
