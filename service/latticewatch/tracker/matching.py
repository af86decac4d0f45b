"""The matching of greatest gain among candidate links: one to one, none need be made."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

#: Pairs up to which what is contested is solved as a full table: 0.01 ms for 20 by 20 of
#: which the sparse solver makes 0.14 ms.
DENSE = 10_000

#: Candidate links: rows (tracks), columns (defects) and gains over not linking, (k,) each.
Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]


def joined(*pairs: Pairs) -> Pairs:
    """All of several sets of candidates."""
    rows, columns, gain = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
    return rows, columns, gain


def chosen(pairs: Pairs, keep: np.ndarray) -> Pairs:
    """Those of the candidates that a mask keeps."""
    return pairs[0][keep], pairs[1][keep], pairs[2][keep]


def match(links: Pairs, partner: np.ndarray, m: int, numbers: np.ndarray | None = None) -> None:
    """Make the links of greatest summed gain.

    Parameters
    ----------
    links
        Candidates of n rows and m columns, each of which gains something; at most one for a pair.
    partner
        (n,), is told the column that each row is linked to and else left as it is.
    m
        Number of columns.
    numbers
        (n,), all different: the order of the rows, on which it depends which of several matchings
        of greatest gain is found. Their own if there are none.
    """
    n = len(partner)
    rows, columns, _ = links
    alone = (np.bincount(rows, minlength=n)[rows] == 1) & (
        np.bincount(columns, minlength=m)[columns] == 1
    )
    partner[rows[alone]] = columns[alone]
    rows, columns, gain = chosen(links, ~alone)
    if not len(rows):
        return
    left, r = _numbered(rows, n)
    if numbers is not None:
        order = np.argsort(numbers[left])
        left, r = left[order], np.argsort(order)[r]
    right, c = _numbered(columns, m)
    solve = _dense if len(left) * len(right) <= DENSE else _sparse
    found = solve(r, c, gain, len(left), len(right))
    partner[left[found >= 0]] = right[found[found >= 0]]


def _numbered(which: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Those of 0 ... n - 1 that occur, and for each of `which` its number among them."""
    occurs = np.zeros(n, bool)
    occurs[which] = True
    return occurs.nonzero()[0], np.cumsum(occurs)[which] - 1


def _dense(r: np.ndarray, c: np.ndarray, gain: np.ndarray, p: int, q: int) -> np.ndarray:
    """Solve a small problem: column of each of p rows, -1 for none."""
    table, partner = np.zeros((p, q)), np.full(p, -1)
    table[r, c] = gain
    i, j = linear_sum_assignment(table, maximize=True)
    linked = table[i, j] > 0
    partner[i[linked]] = j[linked]
    return partner


def _sparse(r: np.ndarray, c: np.ndarray, gain: np.ndarray, p: int, q: int) -> np.ndarray:
    """Do the same for a large one, by the square problem of Jaqaman et al.

    Every row has a private column that means "ends" and every column a private row that means
    "starts"; the block of private rows and columns mirrors the links, so that a perfect matching
    always exists. Every one has equally many edges, so a constant may be added to all: it keeps
    zero weights out of the sparse matrix.
    """
    top = float(gain.max()) + 1.0
    i = np.concatenate([r, np.arange(p), p + np.arange(q), p + c])
    j = np.concatenate([c, q + np.arange(p), np.arange(q), q + r])
    weight = np.concatenate([top - gain, np.full(p + q + len(r), top)])
    problem = csr_array((weight, (i, j)), shape=(p + q, p + q))
    found = min_weight_full_bipartite_matching(problem)[1][:p]
    return np.asarray(np.where(found < q, found, -1))
