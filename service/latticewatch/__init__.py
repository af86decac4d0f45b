"""latticewatch: live defect tracking for scanning transmission electron microscopy."""

from latticewatch.client import Publisher, Subscriber

__version__ = "0.1.0"

__all__ = ["Publisher", "Subscriber", "__version__"]
