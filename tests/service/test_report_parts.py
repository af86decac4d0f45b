"""The parts of a report by themselves: words, lines, pages, settings, changes, overlays."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latticewatch.client.table import COLUMN_TYPES, DefectTable
from latticewatch.published import Estimate
from latticewatch.report import changes, methods, movement, pdf, tables, values
from latticewatch.report.contents import Contents
from latticewatch.report.defect_figures import Shot, overlays
from latticewatch.report.parts import WIDTH, Table
from latticewatch.report.setting import column_widths, width_of, wrapped
from latticewatch.report.values import Absent
from latticewatch.report.words import probability, told

NAN = float("nan")
TIMES = "\N{MULTIPLICATION SIGN}"


def contents(**fields) -> Contents:
    none = Absent("nothing")
    bare = Contents(
        {}, "WS2", {}, np.arange(10), np.arange(10.0), {}, NAN, DefectTable.empty(), (), (), (),
        none, none, none, none, none, none,
    )  # fmt: skip
    return replace(bare, **fields)


@pytest.mark.parametrize(
    ("numbers", "unit", "text"),
    [
        ((0.314946, 0.314699, 0.315192), "nm", "0.31495 (0.31470 to 0.31519) nm"),
        ((1.492e-7, 1.247e-7, 1.791e-7), "Å²/e", f"1.49 (1.25 to 1.79) {TIMES} 10⁻⁷ Å²/e"),
        ((27.85, 19.27, 43.97), "", "28 (19 to 44)"),
        ((0.0, 0.0, 0.0), "/s", "0 (0 to 0) /s"),
        ((NAN, NAN, NAN), "/s", "not known"),
        ((3.0, 1.0, NAN), "", "3.0 (at least 1.0)"),
        ((3.0, NAN, 3.5), "", "3.00 (at most 3.50)"),
        ((3.0, NAN, NAN), "", "3 (interval not known)"),
    ],
)  # fmt: skip
def test_an_estimate_has_as_many_digits_as_its_interval_is_wide(numbers, unit, text):
    assert told(Estimate(*numbers), unit) == text


@given(
    st.floats(-1e7, 1e7).filter(lambda x: abs(x) > 1e-9),
    st.floats(1e-6, 3.0),
)
def test_rounding_an_estimate_moves_it_by_a_small_part_of_its_interval(value, width):
    low, high = value - width * abs(value), value + width * abs(value)
    text = told(Estimate(value, low, high))
    found = re.fullmatch(rf"(\S+) \((\S+) to (\S+)\)(?: {TIMES} 10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))?", text)
    power = (found[4] or "⁰").translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
    read = [float(found[k]) * 10.0 ** int(power) for k in (1, 2, 3)]
    half = (high - low) / 2
    for given_, back in zip((value, low, high), read, strict=True):
        assert abs(given_ - back) <= 0.051 * half * (1 + 1e-9)


def test_small_p_values_are_bounds():
    assert (probability(0.0454), probability(1e-140)) == ("p = 0.045", "p < 0.0001")
    assert probability(NAN) == "p not known"


@settings(deadline=None)
@given(st.text("ab cdefgh", max_size=120), st.floats(0.3, 4.0))
def test_lines_fit_their_width_and_lose_no_letter(text, width):
    lines = wrapped(text, 9.0, width)
    assert all(width_of(line, 9.0) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.text("ab xyz", max_size=40)] * 3), min_size=1, max_size=6))
def test_columns_share_the_width_of_the_page(rows):
    widths = column_widths(rows, 8.5, WIDTH, 0.2)
    needed = [
        max(width_of(cell, 8.5, bold=True) for cell in column) for column in zip(*rows, strict=True)
    ]
    assert sum(widths) <= WIDTH - 0.4 + 1e-9
    assert all(one <= need + 1e-9 for one, need in zip(widths, needed, strict=True))
    if sum(needed) <= WIDTH - 0.4:
        assert widths == pytest.approx(needed)


class Pages(list):
    """Stands for the PDF: keeps the pages."""

    def savefig(self, page):
        self.append(page)


def test_a_long_table_goes_on_over_pages_under_its_head():
    pages = Pages()
    sheet = pdf._Sheet(pages, "title")
    rows = tuple((f"row {k}", "x" * (k % 7) * 30) for k in range(150))
    pdf._put_table(sheet, Table(rows, ("name", "value"), "Many."))
    sheet.turn()
    assert len(pages) > 2
    texts = [[one.get_text() for one in page.texts] for page in pages]
    assert [t for page in texts for t in page if t.startswith("row ")] == [a for a, _ in rows]
    assert all("name" in page for page in texts)
    # all but the foot stands inside the margins
    for page in pages:
        heights = [one.get_position()[1] for one in page.texts[2:]]
        assert min(heights) * pdf._PAGE[1] >= pdf._BOTTOM - 1e-9
        assert max(heights) * pdf._PAGE[1] <= pdf._PAGE[1] - pdf._TOP + 1e-9


FIRST = {
    "software": {"latticewatch": "1", "numpy": "2"}, "analysis": {"threshold": 0.5},
    "tracker": {"max_gap_frames": 3}, "alerts": {},
}  # fmt: skip
SECOND = {**FIRST, "analysis": {"threshold": 0.6}, "alerts": {"dose": "dose > 1 (info)"}}


def test_settings_that_changed_are_listed_with_their_frame():
    first, *between, last = methods.settings(contents(settings={0: FIRST, 6: SECOND}))
    assert (first.title, first.rows[0]) == ("Software. From frame 0.", ("latticewatch", "1"))
    assert [table.rows for table in between][-1] == (("none", ""),)
    assert last.title == "Changed at frame 6."
    assert last.rows == (
        ("analysis.threshold", "0.5", "0.6"),
        ("alerts.dose", "-", "dose > 1 (info)"),
    )
    text = " ".join(methods.paragraphs(contents(settings={0: FIRST, 6: SECOND})))
    assert "probability 0.6 and more" in text
    assert "at most 3 frames" in text
    assert "latticewatch 1, numpy 2" in text
    assert "not recorded" not in text


def test_what_was_not_recorded_is_said():
    late = " ".join(methods.paragraphs(contents(settings={4: FIRST})))
    assert "Of the frames before 4 the settings were not recorded." in late
    old = contents(tracker={"classes": 5})
    assert "did not record its settings" in " ".join(methods.paragraphs(old))
    (table,) = methods.settings(old)
    assert table.rows == (("classes", "5"),)
    assert methods.settings(contents()) == ()


def test_change_points_have_intervals_as_long_as_the_statistics_hold_them():
    level = {"value": 5.0, "low": 4.0, "high": 6.0}
    last = {"series": "populations.VS", "reported": 40, "before": level, "after": level}
    rows = (
        {"frame": 40, "before": "populations.VS = 5", "after": "populations.VS = 9 from frame 39"},
        {"frame": 50, "before": "defect_density_nm2 = 0.1",
         "after": "defect_density_nm2 = 0.2 from frame 48"},
        {"frame": 60, "before": "states.MoW = 3", "after": "states.MoW = 4 from frame 58"},
    )  # fmt: skip
    found = changes.jumps(contents(changes=rows, statistics={"changes": {"last": [last]}}))
    assert [one.label for one in found] == ["1", "2", "3"]
    assert [one.frame for one in found] == [39, 48, 58]
    assert [one.name for one in found] == ["VS", "defect density", "state MoW"]
    assert found[0].before == "5.0 (4.0 to 6.0) in a frame"
    assert (found[1].before, found[1].after) == ("0.1 /nm²", "0.2 /nm²")


def walk(p_value: float) -> dict:
    one = {"value": 2.0, "low": 1.0, "high": 3.0}
    lines = [
        {"line": name, "angle_from_a1_deg": 60.0 * k, "hop_rate_per_s": one}
        for k, name in enumerate(("a1", "a1+a2", "a2"))
    ]
    return {
        "steps": 9, "D_nm2_s": one, "D_nm2_A2_per_e": one, "hop_rate_per_s": one,
        "hops_A2_per_e": one, "localisation_error_nm": 0.01,
        "directions": {
            "lines": lines, "isotropy": {"chi2": 6.0, "p_value": p_value}, "ratio": one,
            "D_nm2_s": {"xx": one, "xy": one, "yy": one},
            "fast_axis": {"angle_from_a1_deg": 58.3, "standard_error_deg": 11.5},
        },
    }  # fmt: skip


def test_the_tensor_and_the_test_of_isotropy_are_told():
    found = movement.motion({"diffusion": {"species": "VS", "all": walk(0.2), "free": walk(0.004)}})
    (said,) = tables.isotropy(found)
    assert "All VS: nothing speaks against equal rates along the three lines (p = 0.2)." in said
    assert "Free VS: the rates along the three lines differ (p = 0.004)." in said
    whole, directions = tables.motion(found)
    assert ("D", *["2.0 (1.0 to 3.0) nm²/s"] * 2) in whole.rows
    assert [row[0] for row in directions.rows] == [
        "hop rate along a1", "hop rate along a1+a2", "hop rate along a2", "D xx (along a1)",
        "D xy", "D yy (90° on)", "ratio of principal values", "fast axis from a1",
        "isotropy, χ² (2 d.o.f.)",
    ]  # fmt: skip
    assert directions.rows[-2][1] == "58° ± 12°"


def test_rates_are_told_per_second_and_per_dose_where_there_is_one():
    part = {"rates": [[9, 1], [2, 9]], "low": [[9, 0.5], [1, 9]], "high": [[9, 1.5], [3, 9]]}
    data = {"transitions": {"states": ["A", "B"], "rates": {"per_s": part, "per_dose": None}}}
    found = values.rates(data)
    assert tables.rates(found).rows == (
        ("A to B", "1.00 (0.50 to 1.50)", "not known"),
        ("B to A", "2.0 (1.0 to 3.0)", "not known"),
    )
    data["transitions"]["rates"]["per_dose"] = part
    assert tables.rates(values.rates(data)).rows[0][2] == "1.00 (0.50 to 1.50)"
    nothing = {"transitions": {"rates": {"reason": "too fast"}}}
    assert values.rates(nothing) == Absent("too fast")


@pytest.mark.parametrize("pixel_nm", [0.03, NAN])
def test_a_mark_stands_on_its_column_in_a_shrunk_frame(pixel_nm):
    # a bright block of 3 x 3 pixels around (x, y) = (34, 16), shrunk threefold: pixel (11, 5)
    image = np.zeros((20, 30), np.uint8)
    image[5, 11] = 255
    table = one_defect(34.0, 16.0)
    figure = overlays([Shot(0, "frame 0", image, 3, table)], pixel_nm)
    (ax,) = figure.axes
    scale = 1.0 if math.isnan(pixel_nm) else pixel_nm
    left, right, bottom, top = ax.images[0].get_extent()
    (x, y) = ax.collections[0].get_offsets()[0]
    column = (x - left) / (right - left) * image.shape[1]
    row = (y - top) / (bottom - top) * image.shape[0]
    assert (math.floor(column), math.floor(row)) == (11, 5)
    assert (column - 11, row - 5) == pytest.approx((0.5, 0.5))
    assert right - left == pytest.approx(90 * scale)
    assert ax.get_xlabel() == ("x (px)" if math.isnan(pixel_nm) else "x (nm)")


def one_defect(x: float, y: float) -> DefectTable:
    values = {name: [""] if kind == "str" else [0] for name, kind in COLUMN_TYPES.items()}
    values |= {"x_px": [x], "y_px": [y], "species": ["VS"]}
    return DefectTable.from_dict({name: np.array(one) for name, one in values.items()})
