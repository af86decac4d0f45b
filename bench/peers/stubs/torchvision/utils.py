"""Stand-in for the one plotting helper that AtomAI names and the benchmark never calls."""

from .models import _absent as make_grid

__all__ = ["make_grid"]
