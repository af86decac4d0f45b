"""latticewatch: live defect tracking for scanning transmission electron microscopy."""

__version__ = "0.1.0"
