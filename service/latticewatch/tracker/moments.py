"""Weighted sums over points, from which the classes of a mixture are read.

A normal class's log density is a sum of products of two of u = [1, x], and all that a step of EM
needs are weighted sums of the same products. So they are made once, each pair once, and what is
known of K classes is one row of as many numbers for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import isqrt

import numpy as np


def products(points: np.ndarray) -> np.ndarray:
    """Products u_i u_j, i <= j, of u = [1, x] for points x (n, d): (m, n), m = (d + 1)(d + 2) / 2.

    Pair by pair in memory: points are many, pairs are few.
    """
    n, d = points.shape
    u = np.empty((d + 1, n))
    u[0], u[1:] = 1.0, points.T
    table, begin = np.empty(((d + 1) * (d + 2) // 2, n)), 0
    for i in range(d + 1):
        end = begin + d + 1 - i
        np.multiply(u[i:], u[i], out=table[begin:end])
        begin = end
    return table


@lru_cache(maxsize=8)
def _pairs(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the m pairs stand in a flat symmetric matrix, and its entries (size, size) among m."""
    first, second = np.triu_indices(size)
    places = np.zeros((size, size), np.intp)
    places[first, second] = places[second, first] = np.arange(len(first))
    return first * size + second, places


def unpacked(sums: np.ndarray) -> np.ndarray:
    """Symmetric matrices (K, d + 1, d + 1) of sums (K, m) of products."""
    size = (isqrt(8 * sums.shape[1] + 1) - 1) // 2
    return sums.take(_pairs(size)[1], axis=1)


def packed(matrices: np.ndarray) -> np.ndarray:
    """Undo `unpacked`."""
    k, size, _ = matrices.shape
    return matrices.reshape(k, -1).take(_pairs(size)[0], axis=1)


def coefficients(forms: np.ndarray) -> np.ndarray:
    """Coefficients (K, m) of the products in the quadratic forms u^T F u of symmetric F."""
    return packed(forms * (2.0 - np.eye(forms.shape[1])))


@dataclass(frozen=True)
class Moments:
    """Sums over n points of their products, weighted by the responsibility r of each class.

    Attributes
    ----------
    n
        Points.
    sums
        (K, m), see `products`.
    """

    n: int
    sums: np.ndarray

    @classmethod
    def empty(cls, k: int, d: int) -> Moments:
        """No points yet."""
        return cls(0, np.zeros((k, (d + 1) * (d + 2) // 2)))

    @classmethod
    def of(cls, table: np.ndarray, r: np.ndarray) -> Moments:
        """Sum over n points with products (m, n) and responsibilities r (K, n)."""
        return cls(table.shape[1], r @ table.T)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.n + other.n, self.sums + other.sums)
