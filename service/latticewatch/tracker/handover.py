"""A vacancy that is seen on two sites while it hops: one track, not an end and a start.

What several frames tell of a site lags behind the vacancy: for a frame or two it stands on both
ends of a hop. The new site then began a track of its own while the old one was still seen. When the
old one goes, the young neighbour is taken for what it became.
"""

from __future__ import annotations

import numpy as np

from .links import SLACK, site_places
from .tracks import TrackArray

#: Frames for which a vacancy may stand on both ends of a hop. At 3,200 electrons a pixel and the
#: default rates 24 of 214 true hops were seen so, nearly all for one or two frames.
OVERLAP = 3
#: Reach of a hop in lattice constants.
REACH = 1.0


def handed_over(
    tracks: TrackArray, partner: np.ndarray, frame: int, mobile: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Let tracks that were just left alone go on where a young neighbour stands.

    Parameters
    ----------
    tracks
        n open tracks.
    partner
        (n,) the detection that continues each, -1 for none (`links.link`).
    frame
        Number of this frame.
    mobile
        bool (n,), may hop.

    Returns
    -------
    partner, absorbed
        (n,) with the young tracks' detections given to the old ones, nearest first, older tracks
        before younger; and bool (n,) the young tracks that are thereby ended.
    """
    absorbed = np.zeros(len(tracks), bool)
    age = frame - tracks["first_frame"]
    gone = np.flatnonzero((partner < 0) & mobile & (tracks["missed"] == 0) & (age > 1))
    young = np.flatnonzero((partner >= 0) & mobile & (age <= OVERLAP) & (age > 0))
    if not len(gone) or not len(young):
        return partner, absorbed
    places = site_places(tracks["cell"], tracks["sublattice"])
    apart = np.hypot(*(places[gone][:, None] - places[young][None]).transpose(2, 0, 1))
    # the old one was there first, and both were seen at once
    earlier = tracks["first_frame"][gone][:, None] < tracks["first_frame"][young][None]
    both = tracks["last_frame"][gone][:, None] >= tracks["first_frame"][young][None]
    same = tracks["sublattice"][gone][:, None] == tracks["sublattice"][young][None]
    rows, columns = np.nonzero((apart <= REACH + SLACK) & earlier & both & same)
    partner, taken = partner.copy(), set[int]()
    for k in np.lexsort((tracks["first_frame"][gone[rows]], apart[rows, columns])):
        old, new = int(gone[rows[k]]), int(young[columns[k]])
        if old in taken or absorbed[new]:
            continue
        partner[old], partner[new] = partner[new], -1
        absorbed[new] = True
        taken.add(old)
    return partner, absorbed
