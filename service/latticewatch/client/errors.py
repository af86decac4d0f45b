"""The errors of the transport: each names what is wrong and how it is mended."""

from __future__ import annotations


class FrameError(ValueError):
    """A frame or its header cannot be accepted.

    Attributes
    ----------
    field
        Name of the header field at fault, ``buffer`` for the pixels, ``header`` for the whole.
    reason
        What is wrong.
    mend
        What to do about it.
    stream, epoch, seq
        Identity of the frame as far as it could be read, else None.
    """

    def __init__(
        self,
        field: str,
        reason: str,
        mend: str,
        *,
        stream: str | None = None,
        epoch: int | None = None,
        seq: int | None = None,
    ) -> None:
        super().__init__(f"{field}: {reason}; {mend}")
        self.field = field
        self.reason = reason
        self.mend = mend
        self.stream = stream
        self.epoch = epoch
        self.seq = seq

    @classmethod
    def parsed(cls, text: str) -> FrameError:
        """Error from its text, as the store keeps it."""
        field, _, rest = text.partition(": ")
        reason, _, mend = rest.rpartition("; ")
        return cls(field, reason, mend)

    def of(self, stream: str | None, epoch: int | None, seq: int | None) -> FrameError:
        """Copy of the error that says which frame it belongs to."""
        return FrameError(self.field, self.reason, self.mend, stream=stream, epoch=epoch, seq=seq)


class MessageError(ValueError):
    """A result message or a query cannot be read: it is damaged or of another version."""


class PublisherError(RuntimeError):
    """The publisher's background thread has stopped, so nothing is sent any more."""


class PublisherFullError(RuntimeError):
    """Neither memory nor spool has room for another frame; the frame was not taken."""


class SpoolError(RuntimeError):
    """A spool on disk belongs to something else, or cannot be read or written."""


class QueryError(RuntimeError):
    """The service did not answer a query, or refused it.

    Attributes
    ----------
    field
        Field of the query that was refused; None where there was no answer.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field
