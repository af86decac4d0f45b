"""Blank the beam when an alert arrives: a complete script, to be made your own.

    latticewatch serve --data sessions --alert 'hole_fraction > 0.05'
    python docs/examples/blank_beam.py --stream titan

It runs on the acquisition PC with ``pip install latticewatch`` alone. `SimulatedBeam` stands for
the microscope: put your instrument's own call there. The beam stays blanked until somebody looks
and starts the script anew, for without a beam no frame can end the alert.
"""

from __future__ import annotations

import argparse
import sys
import time

from latticewatch import Subscriber
from latticewatch.client import Alert, Health

#: The service tells its health every 2 s. Silent for so long, nobody watches the specimen, seconds.
SILENCE_S = 7.0

SEVERITIES = ("info", "warning", "critical")


class SimulatedBeam:
    """A beam that can be blanked."""

    def __init__(self) -> None:
        self.blanked = False

    def blank(self) -> None:
        """Take the beam off the specimen; harmless when it is off already."""
        self.blanked = True


def main() -> int:
    """Watch until interrupted; 1 when the service fell silent."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("results", nargs="?", default="tcp://127.0.0.1:7702", help="(%(default)s)")
    parser.add_argument("--stream", default="*", help="name of a stream; default: all")
    parser.add_argument(
        "--severity", choices=SEVERITIES, default="warning", help="least that blanks (%(default)s)"
    )
    parser.add_argument("--alerts", type=int, help="end after so many")
    options = parser.parse_args()
    beam = SimulatedBeam()
    try:
        with Subscriber(options.results, options.stream, ("alert", "health")) as results:
            return watch(results, beam, options)
    except KeyboardInterrupt:
        return 130


def watch(results: Subscriber, beam: SimulatedBeam, options: argparse.Namespace) -> int:
    """Blank the beam with every alert that is grave enough, and when the service falls silent."""
    least, watching, taken = SEVERITIES.index(options.severity), False, 0
    while options.alerts is None or taken < options.alerts:
        try:
            message = results.receive(SILENCE_S)
        except TimeoutError:
            beam.blank()
            print(f"no word from the service for {SILENCE_S:g} s: beam blanked", file=sys.stderr)
            return 1
        if isinstance(message, Health) and not watching:
            # subscriptions are answered in order: from here on no alert is missed
            watching = True
            print("watching", flush=True)
        if not isinstance(message, Alert):
            continue
        if message.active and SEVERITIES.index(message.severity) >= least:
            beam.blank()
            print(reaction(message, time.time()), flush=True)
            taken += 1
        elif message.snapshot and message.values.get("active_rules"):
            # the last word before we came was that one alert ceased while others were raised
            beam.blank()
            print(f"beam blanked: {', '.join(message.values['active_rules'])}", flush=True)
            taken += 1
        else:
            print(f"frame {message.frame}: {message.rule}: {message.text}", flush=True)
    return 0


def reaction(alert: Alert, now: float) -> str:
    """Say why the beam was blanked and how long after the frame's result that was.

    Both times are by this machine's clock where the service runs on it too; else the clocks must
    agree.
    """
    text = f"frame {alert.frame}: {alert.text}: beam blanked"
    committed = alert.values.get("committed_s")
    if alert.snapshot or committed is None:
        return f"{text} (the alert was there already)"
    return f"{text} {1000 * (now - committed):.1f} ms after the frame's result"


if __name__ == "__main__":
    sys.exit(main())
