"""The query port: a ROUTER socket that answers from the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import zmq

from latticewatch.client import checks
from latticewatch.client.errors import FrameError, MessageError
from latticewatch.client.wire import pack, unpack
from latticewatch.port import Port
from latticewatch.security import Admission
from latticewatch.storage.schema import StoreError
from latticewatch.storage.session import SESSION_FILE, Session

#: A query is a handful of fields.
MAX_QUERY_BYTES = 64 * 1024

#: Frames that one answer covers; who wants more asks again. At 150 defects a frame some 4 MB.
MAX_FRAMES = 250

#: What ``since`` tells of each frame.
_PLACE = ("frame", "epoch", "seq", "time_s", "status")

Handler = Callable[[dict[str, Any]], dict[str, Any]]


class Queries(Port):
    """Answers queries, each by the handler of its ``op``; errors are answers too.

    Use as an async context manager around `run`.

    Parameters
    ----------
    endpoint
        Address to bind to.
    handlers
        By ``op``: a function of the query that gives the answer, called on a worker thread.
        It may raise FrameError to name a bad field.
    admission
        Who may ask.

    Raises
    ------
    BindingError
        On construction: the address may be reached by strangers.
    PortError
        On entering: the address is taken.
    """

    def __init__(
        self, endpoint: str, handlers: Mapping[str, Handler], admission: Admission | None = None
    ) -> None:
        super().__init__(endpoint, zmq.ROUTER, {zmq.MAXMSGSIZE: MAX_QUERY_BYTES}, admission)
        self._handlers = dict(handlers)

    async def run(self) -> None:
        """Answer until cancelled."""
        while True:
            parts = await self._socket.recv_multipart(copy=False)
            if not self._may_speak(parts):
                continue
            *envelope, query = (part.bytes for part in parts)
            answer = await asyncio.to_thread(self._answer, query)
            if envelope:
                await self._socket.send_multipart([*envelope, answer])

    def _answer(self, query: bytes) -> bytes:
        try:
            fields = unpack(query, MAX_QUERY_BYTES)
            return pack({"ok": True, **self._handler(fields)(fields)})
        except FrameError as error:
            return _refusal(error.field, error.reason, error.mend)
        except MessageError as error:
            return _refusal("query", str(error), "see docs/wire-format.md")
        except StoreError as error:
            return _refusal("stream", str(error), "ask again once that is mended")

    def _handler(self, fields: Any) -> Handler:
        if not isinstance(fields, dict):
            raise FrameError("query", "not a map", "see docs/wire-format.md")
        handler = self._handlers.get(str(fields.get("op")))
        if handler is None:
            mend = f"use one of {', '.join(sorted(self._handlers))}"
            raise FrameError("op", f"{str(fields.get('op'))[:64]!r} is not known", mend)
        return handler


def store_handlers(data: Path) -> dict[str, Handler]:
    """Handlers that answer from the sessions in ``data/<stream>/``.

    ``streams``: names. ``snapshot``: statistics and place of a stream. ``defects``, ``frames``,
    ``checks`` and ``alerts``: of the frames from ``first`` to ``last``; the answer's ``last`` says
    how far it goes. With the checks come the models that the session had. ``since``: defects and
    alerts of the frames from ``first``, or from ``epoch`` and ``seq``, on, all of one moment; with
    the newest of them come the statistics.
    """
    return {name: partial(answer, data) for name, answer in _ANSWERS.items()}


def _streams(data: Path, _: dict[str, Any]) -> dict[str, Any]:
    return {"streams": sorted(path.parent.name for path in data.glob(f"*/{SESSION_FILE}"))}


def _snapshot(data: Path, query: dict[str, Any]) -> dict[str, Any]:
    with _session(data, query) as session:
        epoch, seq, frame, ended = session.place() or (None, 0, 0, False)
        statistics = session.statistics()
    return {
        "epoch": epoch,
        "seq": seq,
        "frame": frame - 1,
        "ended": ended,
        "statistics": statistics,
    }


def _defects(data: Path, query: dict[str, Any]) -> dict[str, Any]:
    with _session(data, query) as session:
        first, last = _span(query, session)
        table = session.defects(first, last)
    return {"first": first, "last": last, "table": table.to_wire()}


def _frames(data: Path, query: dict[str, Any]) -> dict[str, Any]:
    with _session(data, query) as session:
        first, last = _span(query, session)
        return {"first": first, "last": last, "frames": session.frames(first, last)}


def _checks(data: Path, query: dict[str, Any]) -> dict[str, Any]:
    with _session(data, query) as session:
        first, last = _span(query, session)
        rows, models = session.checks(first, last), session.models()
        computed = session.computed()
    return {
        "first": first, "last": last, "checks": rows, "models": models, "computed": computed,
    }  # fmt: skip


def _alerts(data: Path, query: dict[str, Any]) -> dict[str, Any]:
    with _session(data, query) as session:
        first, last = _span(query, session)
        return {"first": first, "last": last, "alerts": session.alerts(first, last)}


def _since(data: Path, query: dict[str, Any]) -> dict[str, Any]:
    with _session(data, query) as session, session.at_once():
        place = session.place() or (0, 0, 0, False)
        first, last = _span({**query, "first": _first(query, session), "last": None}, session)
        rows = session.frames(first, last)
        return {
            "epoch": place[0],
            "first": first,
            "last": last,
            "frames": [{name: row[name] for name in _PLACE} for row in rows],
            "table": session.defects(first, last).to_wire(),
            "alerts": session.alerts(first, last),
            "statistics": session.statistics() if first <= place[2] == last + 1 else {},
            "statistics_frame": session.statistics_frame(),
        }


#: What answers each ``op`` from the sessions in a folder.
_ANSWERS: dict[str, Callable[[Path, dict[str, Any]], dict[str, Any]]] = {
    "since": _since,
    "streams": _streams,
    "snapshot": _snapshot,
    "defects": _defects,
    "frames": _frames,
    "checks": _checks,
    "alerts": _alerts,
}


def _session(data: Path, query: dict[str, Any]) -> Session:
    stream = checks.stream_name(query.get("stream"))  # also keeps the path inside the data folder
    if not (data / stream / SESSION_FILE).is_file():
        mend = "ask for 'streams' to see those that there are"
        raise FrameError("stream", f"{stream!r} is not known", mend)
    return Session.open_read(data / stream / SESSION_FILE)


def _first(query: dict[str, Any], session: Session) -> int:
    """Frame that a query begins with: by its number, or by epoch and sequence number."""
    if "epoch" not in query and "seq" not in query:
        return checks.natural("first", query.get("first", 0))
    epoch, seq = (checks.natural(name, query.get(name)) for name in ("epoch", "seq"))
    first = session.frame_of(epoch, seq)
    if first is None:
        mend = "ask from a frame's number, or from 0"
        raise FrameError("epoch", f"{epoch} is not in the session", mend)
    return first


def _span(query: dict[str, Any], session: Session) -> tuple[int, int]:
    """First and last frame of the answer: committed ones, and no more than `MAX_FRAMES`."""
    place = session.place()
    newest = place[2] - 1 if place else -1
    first = checks.natural("first", query.get("first", 0))
    last = newest if query.get("last") is None else checks.natural("last", query["last"])
    return first, min(last, newest, first + MAX_FRAMES - 1)


def _refusal(field: str, reason: str, mend: str) -> bytes:
    return pack({"ok": False, "field": field, "reason": reason, "mend": mend})
