"""All that remembers: classes, tracks, transitions, diffusion. Pure state, no I/O."""

from .settings import TrackerSettings
from .tracker import Tracker
from .update import COLUMNS, ClosedTrack, Event, Update

__all__ = ["COLUMNS", "ClosedTrack", "Event", "Tracker", "TrackerSettings", "Update"]
