/* A basis of the reciprocal lattice, four numbers: (x, y) of the first vector, then of the second.
 *
 * Twins: bragg._explained and bragg.reduce_basis.
 */

/* Most steps of the reduction, so that it ends whatever the numbers are. */
#define MOST_STEPS 64

__device__ static inline double dot(const double *one, const double *other)
{
    return one[0] * other[0] + one[1] * other[1];
}

__device__ static inline double determinant(const double *basis)
{
    return basis[0] * basis[3] - basis[1] * basis[2];
}

/* Node nearest to a peak, and whether it explains the peak: not where the basis is none. */
__device__ static bool explains(
    const double *basis, const double *peak, /* (4): x, y, weight, tolerance in bins */
    int rows, int width, double *node)
{
    double scale = 1.0 / determinant(basis);
    node[0] = rint((peak[0] * basis[3] - peak[1] * basis[2]) * scale);
    node[1] = rint((basis[0] * peak[1] - basis[1] * peak[0]) * scale);
    double across = (peak[0] - (node[0] * basis[0] + node[1] * basis[2])) * width;
    double down = (peak[1] - (node[0] * basis[1] + node[1] * basis[3])) * rows;
    return (node[0] != 0.0 || node[1] != 0.0) && across * across + down * down <= peak[3] * peak[3];
}

/* Two shortest vectors of a lattice (Lagrange-Gauss), the first of its ring nearest to +x. */
__device__ static void reduce_basis(const double *basis, double *reduced)
{
    double first[2] = {basis[0], basis[1]}, second[2] = {basis[2], basis[3]}, ring[12], angle[6];
    for (int step = 0; step < MOST_STEPS; step++) {
        bool swap = dot(first, first) > dot(second, second);
        for (int axis = 0; axis < 2 && swap; axis++) {
            double kept = first[axis];
            first[axis] = second[axis];
            second[axis] = kept;
        }
        double times = rint(dot(first, second) / dot(first, first));
        double shorter[2] = {second[0] - times * first[0], second[1] - times * first[1]};
        /* at exactly 60 degrees two choices are equally short */
        if (!(dot(shorter, shorter) < (1.0 - 1e-9) * dot(second, second)))
            break;
        second[0] = shorter[0];
        second[1] = shorter[1];
    }
    double sign = dot(first, second) < 0.0 ? -1.0 : 1.0;
    for (int axis = 0; axis < 2; axis++) {
        ring[axis] = first[axis];
        ring[2 + axis] = sign * second[axis];
        ring[4 + axis] = sign * second[axis] - first[axis];
        for (int k = 0; k < 6; k += 2)
            ring[6 + k + axis] = -ring[k + axis];
    }
    int start = 0, next = -1;
    for (int k = 0; k < 6; k++) {
        angle[k] = atan2(ring[2 * k + 1], ring[2 * k]);
        double gap = fabs(angle[k]) - fabs(angle[start]);
        if (gap < 0.0 || (gap == 0.0 && angle[k] < angle[start]))
            start = k;
    }
    for (int k = 0; k < 6; k++)
        if (angle[k] > angle[start] && (next < 0 || angle[k] < angle[next]))
            next = k;
    for (int axis = 0; axis < 2; axis++) {
        reduced[axis] = ring[2 * start + axis];
        reduced[2 + axis] = ring[2 * max(next, 0) + axis];
    }
}
