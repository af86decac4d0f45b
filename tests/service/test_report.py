"""The report of a session: whole, readable without a network, and of whatever the session holds."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from latticewatch.cli import main
from latticewatch.report import movement, surroundings, values
from latticewatch.report.contents import read_contents
from latticewatch.report.page import html
from latticewatch.report.parts import FONTS
from latticewatch.report.sections import build
from latticewatch.storage.session import Session
from latticewatch_models.microscope import Microscope

FRAMES = 12

SECTIONS = [
    "summary", "methods", "frames", "classes", "space-time", "motion", "displacements", "states",
    "series", "settings",
]  # fmt: skip

#: Figures by the part of the contents that they are drawn of.
FIGURES = {
    "classes": {"class-images"}, "motion": {"motion"}, "fields": {"displacement-fields"},
    "believed": {"believed-fields"}, "modes": {"displacement-modes"},
    "matrices": {"matrices", "graph"},
}  # fmt: skip


class Page(HTMLParser):
    """Sections, figures, references and open tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sections, self.figures, self.references, self.open = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag not in {"img", "meta"}:
            self.open.append(tag)
        if tag == "section":
            self.sections.append(found["id"])
        if tag == "figure":
            self.figures.append(found["id"].removeprefix("figure-"))
        self.references += [found[name] for name in ("src", "href") if name in found]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def movie(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("movie") / "movie.npy"
    frames = Microscope("WS2", (128, 128), seed=9).frames(FRAMES)
    np.save(path, np.stack([frame.image for frame in frames]))
    return path


@pytest.fixture(scope="module")
def folder(movie, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("session") / "out"
    rules = out.with_name("rules.toml")
    rules.write_text(
        '[alerts]\nrules = ["defect_density > 0.01 for 3 frames", "population of MoW > 0"]\n'
    )
    given = ["--pixel-size", "0.03", "--frame-time", "2.25", "--config", str(rules)]
    assert main(["analyze", str(movie), "--out", str(out), *given]) == 0
    return out


def test_the_page_is_whole_and_loads_nothing(folder, tmp_path, capsys):
    out, pdf = tmp_path / "r.html", tmp_path / "r.pdf"
    assert main(["report", str(folder), "--out", str(out), "--pdf", str(pdf)]) == 0
    page = Page(text := out.read_text(encoding="utf-8"))
    assert page.open == []
    assert page.sections == SECTIONS
    drawn = {"overlays", "alert-overlays", "space-time", "series"}
    contents = read_contents(folder)
    for part, names in FIGURES.items():
        drawn |= set() if isinstance(getattr(contents, part), values.Absent) else names
    assert set(page.figures) == drawn
    assert len(page.references) == len(page.figures)
    assert all(one.startswith("data:image/png;base64,") for one in page.references)
    assert "http://" not in text
    assert "https://" not in text
    # each figure once, none lost at the end of a page
    assert pdf.read_bytes().count(b"/Subtype /Image") == len(page.figures)


def test_missing_statistics_leave_out_figures_and_say_why(folder):
    whole = read_contents(folder)
    for statistics in ({}, dict.fromkeys(whole.statistics), dict.fromkeys(whole.statistics, 3)):
        parts = {
            "classes": values.classes(statistics), "matrices": values.matrices(statistics),
            "motion": movement.motion(statistics), "fields": surroundings.fields(statistics),
            "believed": surroundings.believed(statistics), "modes": surroundings.modes(statistics),
        }  # fmt: skip
        assert set(parts) == set(FIGURES)
        assert all(isinstance(part, values.Absent) for part in parts.values())
        dose, none = float("nan"), {"pictures": {}, "alerted": ()}
        bare = replace(whole, statistics=statistics, frame_dose=dose, **parts, **none)
        page = Page(text := html("a <b> & c", build(bare)))
        assert page.sections == SECTIONS
        assert page.figures == ["maps", "space-time", "series"]
        assert text.count("Not shown: ") == 4
        assert "add --movie FILE" in text
        assert "a &lt;b&gt; &amp; c" in text


def test_the_summary_tells_what_the_session_holds(folder):
    contents = read_contents(folder)
    (summary,) = build(contents)[0].tables
    told = dict(summary.rows)
    with Session.open_read(folder) as session:
        assert told["detections, all frames"] == str(len(session.defects()))
    assert told["crystal"] == "WS2"
    assert told["frames analysed"] == str(FRAMES)
    assert told["pixel size"].startswith("0.03 nm")
    verdict = contents.statistics["transitions"]["memory"]["verdict"]
    states = next(one for one in build(contents) if one.name == "states")
    assert states.text[0].startswith(f"Memory test: {verdict}")


def test_nothing_is_cut_off_at_a_figures_edge(folder):
    for section in build(read_contents(folder)):
        for plate in section.plates:
            assert plate.png  # lays it out
            with mpl.rc_context(FONTS):
                box = plate.figure.get_tightbbox()
            wide, high = plate.figure.get_size_inches()
            room = np.array([box.x0, box.y0, wide - box.x1, high - box.y1])
            assert room.min() >= -0.01, (plate.name, room)


def test_kept_pictures_and_the_movie_show_the_same_frames(folder, movie):
    contents = read_contents(folder)
    assert sorted(contents.pictures) == list(range(FRAMES))
    assert contents.alerted == (0, 2)
    frames = np.load(movie)
    drawn = {}
    for name, read in (("kept", None), ("movie", frames.__getitem__)):
        section = next(one for one in build(contents, read) if one.name == "frames")
        overlays = section.plates[0].figure
        drawn[name] = [ax.images[0].get_array() for ax in overlays.axes]
        alert = section.plates[1].figure
        titles = [ax.get_title().partition(":")[0] for ax in alert.axes]
        assert titles == ["frame 0, 0 s", "frame 2, 4.5 s"]
    assert len(drawn["kept"]) == 4
    np.testing.assert_array_equal(drawn["kept"], drawn["movie"])


def test_what_cannot_be_reported_is_told_in_a_line(folder, tmp_path, capsys):
    empty = tmp_path / "session.sqlite"
    with Session.open_read(folder) as session, sqlite3.connect(empty) as copy:
        session._db.backup(copy)
        for table in ("frames", "defects", "checkpoint"):
            copy.execute(f"DELETE FROM {table}")  # noqa: S608 - our own
    copy.close()
    assert main(["report", str(empty)]) == 1
    assert "no analysed frame" in (line := capsys.readouterr().err)
    assert line.count("\n") == 1
    assert main(["report", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    short = tmp_path / "short.npy"
    np.save(short, np.zeros((3, 8, 8)))
    assert main(["report", str(folder), "--movie", str(short)]) == 2
    assert "3 frames" in capsys.readouterr().err
