"""The client half: what runs on the acquisition PC. numpy, pyzmq and msgpack only."""

from latticewatch.client.asking import QueryClient
from latticewatch.client.errors import (
    FrameError,
    MessageError,
    PublisherError,
    PublisherFullError,
    QueryError,
    SpoolError,
)
from latticewatch.client.growing import GrowingFrame
from latticewatch.client.keys import KeyFileError, Keys
from latticewatch.client.messages import (
    Alert,
    Defects,
    DefectTable,
    Health,
    Message,
    Overlay,
    PartialOverlay,
    Statistics,
)
from latticewatch.client.publisher import Publisher
from latticewatch.client.subscriber import Subscriber
from latticewatch.client.tally import PublisherStats

__all__ = [
    "Alert",
    "DefectTable",
    "Defects",
    "FrameError",
    "GrowingFrame",
    "Health",
    "KeyFileError",
    "Keys",
    "Message",
    "MessageError",
    "Overlay",
    "PartialOverlay",
    "Publisher",
    "PublisherError",
    "PublisherFullError",
    "PublisherStats",
    "QueryClient",
    "QueryError",
    "SpoolError",
    "Statistics",
    "Subscriber",
]
