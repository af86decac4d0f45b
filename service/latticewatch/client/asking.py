"""Questions to the service's query port."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zmq

from latticewatch.client.addresses import connect
from latticewatch.client.errors import MessageError, QueryError
from latticewatch.client.keys import Keys, keys_of
from latticewatch.client.table import DefectTable
from latticewatch.client.wire import pack, unpack

#: A defect table of some hundred frames takes the service tens of milliseconds.
TIMEOUT_S = 10.0


class QueryClient:
    """Asks the service what it has stored.

    Parameters
    ----------
    endpoint
        The query port, ``tcp://127.0.0.1:7703``.
    timeout
        Seconds to wait for an answer.
    keys
        For a service that asks for them; or their folder.
    """

    def __init__(
        self, endpoint: str, timeout: float = TIMEOUT_S, keys: Keys | str | Path | None = None
    ) -> None:
        self.endpoint = endpoint
        self.timeout = timeout
        self._keys = keys_of(keys)

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """Send one query and return the answer's fields.

        Raises
        ------
        QueryError
            No answer in time, or the service refused the query.
        ValueError
            The endpoint is no address.
        """
        with zmq.Context() as context, context.socket(zmq.REQ) as socket:
            socket.set(zmq.LINGER, 0)
            if self._keys is not None:
                self._keys.apply(socket)
            connect(socket, self.endpoint)
            socket.send(pack({"op": op, **fields}))
            if not socket.poll(int(1000 * self.timeout)):
                raise QueryError(
                    f"no answer from {self.endpoint} in {self.timeout:g} s: is the service "
                    "running, and does it let these keys in?"
                )
            return _checked(socket.recv())

    def streams(self) -> list[str]:
        """Names of the streams that are stored."""
        return list(self.ask("streams")["streams"])

    def snapshot(self, stream: str) -> dict[str, Any]:
        """Latest statistics of a stream, and the epoch, seq and frame that it stands at."""
        return self.ask("snapshot", stream=stream)

    def defects(self, stream: str, first: int = 0, last: int | None = None) -> DefectTable:
        """Defects of the committed frames from `first` to `last`, both included."""
        tables: list[DefectTable] = []
        while last is None or first <= last:
            answer = self.ask("defects", stream=stream, first=first, last=last)
            if answer["last"] < first:
                break
            tables.append(DefectTable.from_wire(answer["table"]))
            first = answer["last"] + 1
        return DefectTable.concat(tables)


def _checked(answer: bytes) -> dict[str, Any]:
    try:
        fields = unpack(answer)
    except MessageError as error:
        raise QueryError(f"the answer cannot be read: {error}") from error
    if not isinstance(fields, Mapping):
        raise QueryError("the answer is no map: is this the query port?")
    if not fields.get("ok"):
        parts = (str(fields.get(name)) for name in ("field", "reason", "mend"))
        raise QueryError("refused: {}: {}; {}".format(*parts), str(fields.get("field")))
    return dict(fields)
