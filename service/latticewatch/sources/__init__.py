"""Where frames come from when they do not come from an instrument."""

from latticewatch.sources.movies import Movie, MovieError, open_movie

__all__ = ["Movie", "MovieError", "open_movie"]
