/* Lattice coordinates of points, and the sites of the lattice. Twin: lattice.Lattice. */

#include "facts.cuh"

#define FARTHEST 1e6 /* cells; a point that is none lies there */

/* Fractional coordinates of the sites in the cell: lattice.HEXAGONAL_SITES. */
__device__ static inline double site_at(int sublattice, int axis)
{
    return sublattice == 0 ? 0.0 : (sublattice == 1) == (axis == 0) ? 1.0 / 3.0 : 2.0 / 3.0;
}

__device__ static inline void to_pixels(const double *facts, double u, double v, double *point)
{
    for (int axis = 0; axis < 2; axis++)
        point[axis] = u * facts[FACT_VECTORS + axis] + v * facts[FACT_VECTORS + 2 + axis]
            + facts[FACT_ORIGIN + axis];
}

__device__ static inline void to_fractional(const double *facts, double x, double y, double *place)
{
    const double *a = facts + FACT_VECTORS, *b = a + 2;
    double right = x - facts[FACT_ORIGIN], down = y - facts[FACT_ORIGIN + 1];
    double area = a[0] * b[1] - a[1] * b[0];
    place[0] = (b[1] * right - b[0] * down) / area;
    place[1] = (a[0] * down - a[1] * right) / area;
}

/* Cell (2) and sublattice of the nearest site; the first of equals in the twin's order. */
__device__ static inline void nearest_site(
    const double *facts, double x, double y, int *cell, int *sublattice)
{
    double place[2], nearest = 1e300;
    to_fractional(facts, x, y, place);
    cell[0] = cell[1] = *sublattice = 0;
    for (int axis = 0; axis < 2; axis++)
        if (!(fabs(place[axis]) < FARTHEST))
            place[axis] = FARTHEST;
    for (int site = 0; site < 3; site++) {
        int base[2];
        for (int axis = 0; axis < 2; axis++)
            base[axis] = (int)floor(place[axis] - site_at(site, axis) + 0.5);
        for (int corner = 0; corner < 9; corner++) {
            int step[2] = {corner % 3 - 1, corner / 3 - 1};
            double gap[2], off[2];
            for (int axis = 0; axis < 2; axis++)
                gap[axis] = place[axis] - site_at(site, axis) - base[axis] - step[axis];
            for (int axis = 0; axis < 2; axis++)
                off[axis] =
                    gap[0] * facts[FACT_VECTORS + axis] + gap[1] * facts[FACT_VECTORS + 2 + axis];
            double distance = off[0] * off[0] + off[1] * off[1]; /* squared, which orders alike */
            if (distance < nearest) {
                nearest = distance;
                cell[0] = base[0] + step[0];
                cell[1] = base[1] + step[1];
                *sublattice = site;
            }
        }
    }
}

/* Where a sublattice begins, and how many sites it has. */
__device__ static inline void sites_of(const double *facts, int site, int room, int *begin, int *number)
{
    int total = counted(facts, FACT_SITES, room);
    *begin = min(counted(facts, FACT_STARTS + site, room), total);
    int end = site < 2 ? min(counted(facts, FACT_STARTS + site + 1, room), total) : total;
    *number = max(end - *begin, 0);
}
