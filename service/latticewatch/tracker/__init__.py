"""All that remembers: classes, tracks, transitions, diffusion. Pure state, no I/O."""

from .settings import TrackerSettings
from .tracker import Tracker
from .update import ClosedTrack, Event, Update

__all__ = ["ClosedTrack", "Event", "Tracker", "TrackerSettings", "Update"]
