"""From a frame's sending to its being on the screen: ``python bench/shown.py``.

The viewer's window is opened on a virtual X server whose screen is a file. Into every frame it
draws a bar whose colour tells the frame's number, together with the image and the markers; the
screen's file is looked at every two milliseconds, and a frame counts as shown when its colour is
there. Needs Xvfb and a Vulkan driver; without a graphics card that is Mesa's llvmpipe, which paints
with the processor's cores.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np

from latticewatch.benchmark import STREAM, WARM_UP, send_frames, simulated_frames
from latticewatch.client.messages import Defects
from latticewatch.client.subscriber import Subscriber
from latticewatch.processes import running_service

#: Steps of colour: frames are told apart among so many. 32 frames are 6 s at five a second.
STEPS = 32
_STEP, _BLUE = 256 // STEPS, 200

#: How far a colour may be off what was drawn.
_NEAR = 3

_LOOK_S = 0.002

#: Frames that are not shown so long after the last was sent never are, seconds.
_PATIENCE_S = 20.0


def colour(frame: int) -> tuple[int, int, int]:
    level = _STEP * (frame % STEPS)
    return level, 255 - level, _BLUE


def stamped_view(arguments: list[str]) -> int:
    """Run ``latticewatch view`` with the bar in every frame."""
    import rerun as rr

    from latticewatch.cli import main as latticewatch
    from latticewatch.viewer import live

    plain = live.frame_entries

    def stamped(overlay, *rest, **named):
        side = overlay.image.shape[0]
        # a line's colour is that on the screen; a point is shaded like a ball
        ends = [(0.93 * side, 1.05 * side), (0.98 * side, 1.05 * side)]
        bar = rr.LineStrips2D([ends], colors=colour(overlay.frame), radii=0.02 * side)
        return [*plain(overlay, *rest, **named), ("frame/stamp", bar)]

    live.frame_entries = stamped
    return latticewatch(["view", *arguments])


@contextlib.contextmanager
def virtual_screen(folder: Path, width: int, height: int) -> Iterator[tuple[str, np.ndarray]]:
    """Give its name and its pixels, (height, width, 4): blue, green, red."""
    # without Composite there is no visual with transparency: Rerun's window would stay black
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", f"{width}x{height}x24"]
    command += ["-extension", "Composite", "-fbdir", str(folder)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as x:
        try:
            name = f":{x.stdout.readline().strip()}"
            file = folder / "Xvfb_screen0"
            offset = file.stat().st_size - height * width * 4
            yield name, np.memmap(file, np.uint8, "r", offset, (height, width, 4))
        finally:
            x.terminate()
            x.wait(10)


def place_of(pixels: np.ndarray) -> tuple[int, int] | None:
    """Row and column of the bar's middle."""
    blue, green, red = (pixels[..., k].astype(int) for k in range(3))
    near = (np.abs(blue - _BLUE) <= _NEAR) & (np.abs(red + green - 255) <= _NEAR)
    rows, columns = np.nonzero(near)
    # a bar, not single pixels that happen to have such a colour
    return (int(np.median(rows)), int(np.median(columns))) if len(rows) > 30 else None


def step_of(pixel: np.ndarray) -> int | None:
    """Tell which frame, modulo STEPS, a pixel stands for."""
    blue, green, red = (int(part) for part in pixel[:3])
    if abs(blue - _BLUE) > _NEAR or abs(red + green - 255) > _NEAR:
        return None
    step = round(red / _STEP)
    return step if abs(step * _STEP - red) <= _NEAR else None


def watch(pixels: np.ndarray, subscriber: Subscriber, sender: Thread) -> tuple[dict, dict, dict]:
    """Unix times by frame at which each was sent, published, and first seen on the screen."""
    sent: dict[int, float] = {}
    published: dict[int, float] = {}
    shown: dict[int, float] = {}
    place, last, until = None, None, None
    while until is None or time.monotonic() < until:
        with contextlib.suppress(TimeoutError):
            while True:
                message = subscriber.receive(0)
                if isinstance(message, Defects) and message.sent_s and not message.snapshot:
                    sent[message.frame] = message.sent_s
                    published[message.frame] = message.published_s
        if until is None and not sender.is_alive():
            until = time.monotonic() + _PATIENCE_S
        place = place or place_of(pixels)
        step = None if place is None else step_of(pixels[place])
        if step is not None and step != last:
            last, now = step, time.time()
            of_step = [frame for frame in sent if frame % STEPS == step and sent[frame] <= now]
            if of_step:
                shown.setdefault(max(of_step), now)
        if until is not None and sent and max(sent) in shown:
            break
        time.sleep(_LOOK_S)
    return sent, published, shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--rate", type=float, default=5.0, help="frames a second")
    parser.add_argument("--width", type=int, default=1400, help="of the screen, pixels")
    parser.add_argument("--height", type=int, default=900)
    options = parser.parse_args()
    images, header = simulated_frames(options.size, options.frames + WARM_UP)
    with tempfile.TemporaryDirectory(prefix="latticewatch-bench-") as name:
        folder = Path(name)
        with (
            virtual_screen(folder, options.width, options.height) as (display, pixels),
            running_service(folder / "data") as (_, ports),
            Subscriber(ports["results"], STREAM, ("defects",)) as subscriber,
            subprocess.Popen(
                [sys.executable, __file__, "view", ports["results"]],
                env={**os.environ, "DISPLAY": display}, stdout=subprocess.PIPE, text=True,
            ) as viewer,
        ):  # fmt: skip
            viewer.stdout.readline()  # Rerun listens
            arguments = (ports["frames"], images, header, options.rate)
            sender = Thread(target=send_frames, args=arguments)
            sender.start()
            try:
                told = watch(pixels, subscriber, sender)
            finally:
                viewer.terminate()
                sender.join()
        print(report(*told, options))


def report(sent: dict, published: dict, shown: dict, options: argparse.Namespace) -> str:
    counted = [frame for frame in sent if frame >= WARM_UP]
    seen = [frame for frame in counted if frame in shown]
    head = f"{len(seen)} of {len(counted)} frames of {options.size} x {options.size} shown, "
    lines = [head + f"{options.rate:g} a second; load {os.getloadavg()[0]:.1f}; ms, median and p99"]
    for name, frames, ends in (
        ("sent to published", counted, published),
        ("sent to shown", seen, shown),
    ):
        if frames:
            p50, p99 = np.percentile([1000 * (ends[k] - sent[k]) for k in frames], [50, 99])
            lines.append(f"  {name:20} {p50:7.1f} {p99:7.1f}")
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:2] == ["view"]:
        sys.exit(stamped_view(sys.argv[2:]))
    main()
