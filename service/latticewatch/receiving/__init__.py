"""Frames in: the frame port, what it refuses, and each stream's frames into order."""
