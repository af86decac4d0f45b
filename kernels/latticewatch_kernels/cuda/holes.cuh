/* Holes of the map of local order. Twin: order.OrderMap.near_hole. */

#include "facts.cuh"

/* Whether a hole's cell lies within a lattice constant of the cell that holds a point. */
__device__ static inline bool near_hole(
    const double *facts, const char *hole, int high, int wide, int stride, double x, double y)
{
    if (facts[FACT_HOLES] == 0.0)
        return false;
    double cells = facts[FACT_CONSTANT] / stride; /* within which the hole is */
    int reach = cells >= 0.0 ? (int)min(cells, (double)max(high, wide)) : 0;
    int row = min(max((int)(y / stride), 0), high - 1);
    int column = min(max((int)(x / stride), 0), wide - 1);
    for (int i = max(row - reach, 0); i <= min(row + reach, high - 1); i++)
        for (int j = max(column - reach, 0); j <= min(column + reach, wide - 1); j++) {
            double down = i - row, across = j - column;
            if (hole[i * wide + j] && sqrt(down * down + across * across) * stride <= facts[FACT_CONSTANT])
                return true;
        }
    return false;
}
