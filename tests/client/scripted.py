"""A service that does as the test tells it."""

from __future__ import annotations

import zmq

from latticewatch.client.frames import EndHeader, frame_array, parse_message
from latticewatch.client.replies import pack_reply

WAIT_S = 20.0


class Service:
    """A ROUTER socket that does as the test tells it."""

    def __init__(self, endpoint="tcp://127.0.0.1:*"):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.set(zmq.LINGER, 0)
        self.socket.bind(endpoint)
        self.endpoint = self.socket.get_string(zmq.LAST_ENDPOINT)
        self.peer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.destroy(linger=0)

    def receive(self, wait_s=WAIT_S):
        """Next header, with its pixels where it is a frame; None when none comes."""
        if not self.socket.poll(int(1000 * wait_s)):
            return None
        self.peer, *parts = self.socket.recv_multipart()
        header = parse_message(parts[0])
        return header, None if isinstance(header, EndHeader) else frame_array(header, parts[1])

    def seqs(self, count):
        return [self.receive()[0].seq for _ in range(count)]

    def reply(self, reply):
        self.socket.send_multipart([self.peer, pack_reply(reply)])
