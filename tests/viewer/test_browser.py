"""Service, simulated microscope and viewer as they are run; a browser; and what it really shows."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import chromium
import numpy as np
import pytest
from scipy import ndimage

from latticewatch.palette import style_of
from latticewatch.processes import running, running_service
from latticewatch.sources.simulated import read_truth

pytest.importorskip("rerun", reason="the viewer needs rerun-sdk")
from latticewatch.viewer.drawing import rgb
from latticewatch.viewer.scene import BORDER

WIDTH, HEIGHT = 1400, 900
#: Frames until after the warm-up of the classes, 500 descriptors.
SIZE, FRAMES = 256, 24

#: The browser draws in software: it may take so long until everything is on the screen, seconds.
PATIENCE_S = 150.0

#: Where the blueprint puts things, as parts of the page.
TRANSITIONS = (slice(70, 310), slice(616, 876))
SERIES = (slice(500, 665), slice(616, 980))
CLASSES = (slice(350, 470), slice(616, 1396))

#: The heat map's colour for a probability of zero (viridis).
NEVER = (68, 1, 84)

#: Share of places 21 px beside the true defects that may be marked by chance.
MOST_BESIDE = 0.3

#: Share of the true dopants and metal vacancies that must be marked in the last frame; the tracker
#: itself finds 0.98 and more of them.
LEAST_MARKED = 0.9


def pixels_of(picture: np.ndarray, colour: tuple[int, int, int], tolerance: int = 12) -> np.ndarray:
    return np.abs(picture.astype(int) - colour).max(axis=-1) <= tolerance


def frame_box(picture: np.ndarray) -> tuple[float, float, float] | None:
    """Left and upper edge and pixels a frame pixel, by the line that is drawn around the frame."""
    line = pixels_of(picture[:, : WIDTH // 2], BORDER, 3)
    rows = np.flatnonzero(line.sum(axis=1) > 0.5 * HEIGHT / 2)
    columns = np.flatnonzero(line.sum(axis=0) > 0.5 * HEIGHT / 2)
    if len(rows) < 2 or len(columns) < 2:
        return None
    scale = (columns[-1] - columns[0]) / SIZE
    assert (rows[-1] - rows[0]) / SIZE == pytest.approx(scale, abs=2 / SIZE)
    return float(columns[0]), float(rows[0]), scale


def marked(picture: np.ndarray, truth, shift_px: tuple[float, float]) -> dict[str, float]:
    """Share of the true defects with a pixel of their species' colour within a marker's reach."""
    left, top, scale = frame_box(picture)
    shares = {}
    for species in ("MoW", "VW"):
        chosen = truth.species == species
        colours = {style_of(species)[0], style_of(species, "+")[0] if species == "MoW" else ""}
        near = np.zeros(picture.shape[:2], bool)
        for colour in colours - {""}:
            near |= pixels_of(picture, rgb(colour), 30)
        near = ndimage.maximum_filter(near, size=9)
        x = left + scale * (truth.x_px[chosen] + 0.5 + shift_px[0])
        y = top + scale * (truth.y_px[chosen] + 0.5 + shift_px[1])
        inside = (x < left + scale * SIZE) & (y < top + scale * SIZE)
        hit = near[y[inside].astype(int), x[inside].astype(int)]
        shares[species] = float(hit.mean())
    return shares


def lacking(picture: np.ndarray, truth) -> list[str]:
    """What of the page is not to be seen, or not where it should be."""
    if frame_box(picture) is None:
        return ["the frame"]
    found = []
    here, beside = (marked(picture, truth, shift) for shift in ((0.0, 0.0), (13.0, 17.0)))
    if min(here.values()) < LEAST_MARKED:
        found.append(f"markers on the true defects: {here}")
    if max(beside.values()) > MOST_BESIDE:
        found.append(f"places without markers: {beside}")
    left, top, scale = frame_box(picture)
    side = int(scale * SIZE) - 4
    grey = picture[int(top) + 2 : int(top) + side, int(left) + 2 : int(left) + side]
    if grey.std() < 20:
        found.append("the image below the markers")
    heat_map = picture[TRANSITIONS]
    likely = (heat_map[..., 1] > 150) & (heat_map[..., 2] < 140)  # viridis above a half
    if pixels_of(heat_map, NEVER).mean() < 0.1 or likely.mean() < 0.02:
        found.append("the transition matrix")
    lines = {name: pixels_of(picture[SERIES], rgb(style_of(name)[0])) for name in ("MoW", "VW")}
    found += [f"the series of {name}" for name, drawn in lines.items() if drawn.sum() < 20]
    if picture[CLASSES].max(axis=-1).std() < 20:
        found.append("mean images of the classes")
    return found


def await_page(page: chromium.Page, truth) -> np.ndarray:
    """Screenshots until nothing lacks; each waits for the browser's next picture."""
    until, left_out = time.monotonic() + PATIENCE_S, ["a picture"]
    while time.monotonic() < until:
        picture = page.screenshot()
        left_out = lacking(picture, truth)
        if not left_out:
            return picture
    raise AssertionError(f"within {PATIENCE_S:g} s the page lacks {left_out}")


@pytest.mark.timeout(300)
@pytest.mark.skipif(chromium.executable() is None, reason="no chromium on the PATH")
def test_the_browser_shows_overlay_series_and_matrix(tmp_path):
    truth_file = tmp_path / "truth.jsonl"
    source = (
        "send", "--simulate", "--stream", "s", "--frames", str(FRAMES), "--size", str(SIZE),
        "--seed", "2", "--truth", str(truth_file),
    )  # fmt: skip
    with (
        running_service(tmp_path / "data") as (_, ports),
        running("view", ports["results"], "--web", "--port", "0", pipe=True) as viewer,
    ):
        address = viewer.stdout.readline().split(" in ")[1].strip()
        with running(*source, "--to", ports["frames"], quiet=True) as sender:
            assert sender.wait(120) == 0
        truth = list(read_truth(truth_file))[-1]
        assert truth.frame == FRAMES - 1
        with chromium.browsing(f"{address}&renderer=webgl", WIDTH, HEIGHT) as page:
            page.resize(WIDTH, HEIGHT)
            picture = await_page(page, truth)
            asked = [urlsplit(url) for url in page.reached()]
    assert picture.shape == (HEIGHT, WIDTH, 3)
    # nobody but this machine was asked for anything
    assert {url.hostname for url in asked if url.scheme in ("http", "https")} == {"127.0.0.1"}
    assert page.refused
