"""Write a session as one page with figures, tables and methods, to read without a network.

For example::

  latticewatch report results
  latticewatch report results --out movie.html --pdf movie.pdf --movie movie.tif

The session keeps a few of its frames, which are shown with their defects; --movie takes others.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from latticewatch.cli import MisuseError
from latticewatch.sources import open_movie
from latticewatch.storage.session import session_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("session", type=Path, metavar="SESSION", help="folder of session.sqlite")
    parser.add_argument(
        "--out", type=Path, metavar="FILE.html", help="report.html beside the session by default"
    )
    parser.add_argument("--pdf", type=Path, metavar="FILE.pdf", help="write this PDF too")
    parser.add_argument(
        "--movie", type=Path, metavar="FILE", help="show its frames in place of kept ones"
    )


def run(options: argparse.Namespace) -> int:
    """Write the report."""
    from latticewatch.report.contents import read_contents
    from latticewatch.report.page import html
    from latticewatch.report.pdf import save_pdf
    from latticewatch.report.sections import build

    contents = read_contents(options.session)
    read = None
    if options.movie is not None:
        movie = open_movie(options.movie)
        last = int(contents.frames[-1])
        if last >= movie.count:
            raise MisuseError(
                f"--movie {options.movie}: it has {movie.count} frames, the session goes to frame "
                f"{last}; give the movie that was analysed"
            )
        read = movie.read
    sections = build(contents, read)
    title = (
        f"Session {contents.statistics.get('stream', session_path(options.session).parent.name)}"
    )
    out = options.out or session_path(options.session).with_name("report.html")
    out.write_text(html(title, sections), encoding="utf-8")
    print(out)
    if options.pdf is not None:
        save_pdf(options.pdf, title, sections)
        print(options.pdf)
    return 0
