"""Which device each stream is analysed on: a pure allocation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from latticewatch.computed import HOST


@dataclass(frozen=True)
class Spread:
    """Streams on devices; each stays where it is as long as its device works.

    Attributes
    ----------
    devices
        Those in use, in order of preference.
    lost
        Those of them that failed, with the reason.
    places
        Device of each stream.
    """

    devices: tuple[str, ...]
    lost: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)

    @property
    def sound(self) -> tuple[str, ...]:
        """Devices that did not fail; the host alone where all did."""
        return tuple(name for name in self.devices if name not in self.lost) or (HOST,)

    def streams_on(self, device: str) -> tuple[str, ...]:
        """Streams of a device, in the order in which they came to it."""
        return tuple(stream for stream, place in self.places.items() if place == device)

    def placed(self, stream: str) -> Spread:
        """Put a stream on the device with the fewest; one that has a place keeps it."""
        return self if stream in self.places else self._put([stream])

    def released(self, stream: str) -> Spread:
        """Forget a stream."""
        left = {name: place for name, place in self.places.items() if name != stream}
        return replace(self, places=left)

    def without(self, device: str, reason: str) -> Spread:
        """Give up a device; its streams, one after the other, go where the fewest are."""
        stranded = self.streams_on(device)
        left = {name: place for name, place in self.places.items() if place != device}
        return replace(self, lost={**self.lost, device: reason}, places=left)._put(stranded)

    def moved(self, before: Spread) -> dict[str, tuple[str, str]]:
        """Devices before and after of the streams that are elsewhere than they were."""
        return {
            stream: (before.places[stream], place)
            for stream, place in self.places.items()
            if before.places.get(stream, place) != place
        }

    def _put(self, streams: Iterable[str]) -> Spread:
        counts = {name: len(self.streams_on(name)) for name in self.sound}
        places = dict(self.places)
        for stream in streams:
            emptiest = min(counts, key=counts.__getitem__)  # the first of several
            places[stream] = emptiest
            counts[emptiest] += 1
        return replace(self, places=places)
