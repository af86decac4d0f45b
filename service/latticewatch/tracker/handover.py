"""A vacancy that is seen on two sites while it hops: one track, not an end and a start.

What several frames tell of a site lags behind the vacancy: for a frame or two it stands on both
ends of a hop. The new site then began a track of its own while the old one was still seen. When the
old one goes, the young neighbour is taken for what it became.
"""

from __future__ import annotations

import numpy as np

from .tracks import TrackArray

#: Frames for which a vacancy may stand on both ends of a hop. At 3,200 electrons a pixel and the
#: default rates 24 of 214 true hops were seen so, nearly all for one or two frames.
OVERLAP = 3
#: Reach of a hop, squared, in lattice constants.
REACH = 1


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
    first, lone = tracks["first_frame"], partner < 0
    gone = (mobile & lone & (tracks["missed"] == 0)).nonzero()[0]
    gone = gone[first[gone] < frame - 1]
    young = (mobile & ~lone & (first >= frame - OVERLAP)).nonzero()[0]
    young = young[first[young] < frame]
    if not len(gone) or not len(young):
        return partner, absorbed
    old, new = (tracks["cell"][chosen].astype(np.int64) for chosen in (gone, young))
    i, j = (old[:, None, axis] - new[:, axis] for axis in range(2))
    apart = i * (i - j) + j * j  # squared, in lattice constants: a1 and a2 stand 120 degrees apart
    rows, columns = np.nonzero(apart <= REACH)
    apart, old, new = apart[rows, columns], gone[rows], young[columns]
    # the old one was there first, and both were seen at once
    fits = (first[old] < first[new]) & (tracks["last_frame"][old] >= first[new])
    fits &= tracks["sublattice"][old] == tracks["sublattice"][new]
    apart, old, new = apart[fits], old[fits], new[fits]
    if not len(old):
        return partner, absorbed
    partner, taken = partner.copy(), set[int]()
    number = tracks["track"]
    order = np.lexsort((number[new], number[old], first[old], apart))
    for one, other in zip(old[order].tolist(), new[order].tolist(), strict=True):
        if one in taken or absorbed[other]:
            continue
        partner[one], partner[other] = partner[other], -1
        absorbed[other] = True
        taken.add(one)
    return partner, absorbed
