"""A subscriber in a process of its own: writes what it received, one JSON line a message."""

from __future__ import annotations

import json
import sys

from latticewatch.client.messages import Defects, Statistics
from latticewatch.client.subscriber import Subscriber


def main(endpoint: str, stream: str) -> None:
    with Subscriber(endpoint, stream, ("defects", "statistics", "health"), timeout=60) as results:
        for message in results:
            row = {
                "kind": message.kind,
                "frame": message.frame,
                "seq": message.seq,
                "snapshot": message.snapshot,
                "missed": message.missed,
            }
            if isinstance(message, Defects):
                row["defects"] = len(message.table)
            if isinstance(message, Statistics):
                row["data"] = dict(message.data)
            print(json.dumps(row), flush=True)
            if isinstance(message, Statistics) and message.data["ended"]:
                return


if __name__ == "__main__":
    main(*sys.argv[1:])
