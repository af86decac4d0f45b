"""Sessions as older versions left them."""

from __future__ import annotations

from latticewatch.storage.schema import SCHEMA_VERSION
from latticewatch.storage.store import Store

#: What undoes each version's additions.
DROPPED = {
    2: "DROP TABLE checks; DROP TABLE models;",
    3: "DROP TABLE alerts; DROP TABLE alert_state;",
    4: "DROP TABLE pictures; DROP TABLE settings;",
    5: "DROP TABLE computed; ALTER TABLE frames DROP COLUMN checksum;",
}


def make_older(store: Store, version: int) -> None:
    """Take out of an open session what came after a version."""
    assert max(DROPPED) == SCHEMA_VERSION
    drops = "".join(text for since, text in DROPPED.items() if since > version)
    store._db.executescript(f"{drops} PRAGMA user_version = {version}")
