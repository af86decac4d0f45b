"""Take the viewer's pictures: the page in a headless Chromium after a movie of 512 x 512.

The browser is opened when the movie has been drawn: in software it paints far fewer frames a second
than come in.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from latticewatch.processes import running, running_service

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "viewer"))
from chromium import browsing  # noqa: E402

WIDTH, HEIGHT = 1400, 900
FRAMES = 120

#: The tabs that are not open at first: where each is clicked on, and the part of the page that
#: changes. The pointer is put away then, so that nothing is explained in the picture.
TABS = {"dopants": (805, 49), "rates": (910, 49)}
PART = (614, 36, WIDTH, 318)
AWAY = (300, 884)

#: Until a browser has drawn another tab.
TAB_S = 20.0

#: Until a browser that paints in software on two busy cores has taken all in, seconds.
SETTLE_S = 180.0


def keep(pixels, name, part=(0, 0, WIDTH, HEIGHT)):
    """Save a part of the page in 256 colours."""
    # the species' colours must survive: an adaptive palette spends itself on greys
    picture = Image.fromarray(pixels).crop(part)
    few = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(HERE / f"{name}.png", optimize=True)


if __name__ == "__main__":
    source = ("send", "--simulate", "--frames", str(FRAMES), "--size", "512", "--rate", "2")
    with (
        tempfile.TemporaryDirectory() as folder,
        running_service(Path(folder)) as (_, ports),
        running("view", ports["results"], "--web", "--port", "0", pipe=True) as viewer,
    ):
        address = viewer.stdout.readline().split(" in ")[1].strip()
        with running(*source, "--stream", "demo", "--to", ports["frames"], quiet=True) as sender:
            sender.wait()
        with browsing(f"{address}&renderer=webgl", WIDTH, HEIGHT) as page:
            page.resize(WIDTH, HEIGHT)
            time.sleep(float(sys.argv[1]) if len(sys.argv) > 1 else SETTLE_S)
            keep(page.screenshot(), "viewer")
            for name, place in TABS.items():
                page.click(*place)
                page.hover(*AWAY)
                time.sleep(TAB_S)
                keep(page.screenshot(), f"viewer-{name}", PART)
