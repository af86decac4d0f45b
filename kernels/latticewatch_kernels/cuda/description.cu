/* What is told of each reported point: its site, intensities, patch, and whether a hole is near.
 *
 * Twins: analysis._describe, columns.intensity_beside, patches.lattice_patches and
 * order.OrderMap.near_hole.
 */

#include "displaced.cuh"
#include "holes.cuh"
#include "sites.cuh"

#define AROUND 4    /* a column and the three next to it */
#define NEAREST 6   /* sites next to it */
#define PLACES 8    /* threads to a column: for it, for each of these, and one to spare */
#define TOLD 4      /* points to a block */
#define TELLING 128 /* its threads: PLACES to each of AROUND columns */

/* Place of a site, displaced as the crystal is there. */
__device__ static inline void standing(
    const double *facts, const float *displacement, int high, int wide, int stride,
    int i, int j, int site, double *point)
{
    double moved[2];
    to_pixels(facts, i + site_at(site, 0), j + site_at(site, 1), point);
    displaced(displacement, high, wide, stride, point[0], point[1], moved);
    point[0] += moved[0];
    point[1] += moved[1];
}

/* Matched residual at a column, and at the six sites next to it. */
__device__ static inline double value_near(
    const double *facts, const float *matched, int rows, int columns, const double *point, int k)
{
    const int arms[3][2] = {{1, 2}, {-2, -1}, {1, -1}}; /* thirds of the lattice vectors */
    const double *a = facts + FACT_VECTORS, *b = a + 2;
    double x = point[0], y = point[1], sign = k <= 3 ? 1.0 : -1.0;
    if (k > 0) {
        const int *arm = arms[(k - 1) % 3];
        x += sign * (arm[0] / 3.0 * a[0] + arm[1] / 3.0 * b[0]);
        y += sign * (arm[0] / 3.0 * a[1] + arm[1] / 3.0 * b[1]);
    }
    return cubic_at(matched, rows, columns, (float)x, (float)y) * facts[FACT_UNIT];
}

/* Intensity of a column, less what the six sites next to it add. */
__device__ static inline float intensity_by(const double *facts, const double *values, int site)
{
    double q = facts[FACT_CROSSTALK], around = 0.0;
    for (int k = 1; k <= NEAREST; k++)
        around += values[k];
    double deviation = (values[0] - q * around) / (1.0 - 6.0 * q * q);
    return (float)(facts[FACT_HOST + site] + deviation - facts[FACT_OFFSET + site]);
}

/* Site of each point, intensities there, and holes near by; a block to TOLD points.
 *
 * All threads of a column find out where it is, and then each reads the residual at one place. */
extern "C" __global__ void __launch_bounds__(TELLING) points_described(
    const double *facts, const double *points, int room,
    const float *displacement, const char *hole, int high, int wide, int stride,
    const float *matched, int rows, int columns,
    const int *neighbours, /* (3, 3, 3): cell, and sublattice, by the site's own */
    int *cells, char *sublattice, float *intensity, char *in_hole) /* (room, 2), (room), (room, 4) */
{
    __shared__ double values[TELLING];
    __shared__ int sites[TELLING / PLACES];
    int begin = blockIdx.x * TOLD, number = counted(facts, FACT_REPORTED, room);
    for (int k = threadIdx.x; k < TELLING; k += blockDim.x) {
        int point = begin + k / (AROUND * PLACES), which = k / PLACES % AROUND, near = k % PLACES;
        if (point >= number)
            continue;
        double x = points[2 * point], y = points[2 * point + 1], moved[2], place[2];
        int cell[2], site;
        displaced(displacement, high, wide, stride, x, y, moved);
        nearest_site(facts, x - moved[0], y - moved[1], cell, &site);
        if (which == 0 && near == 0) {
            cells[2 * point] = cell[0];
            cells[2 * point + 1] = cell[1];
            sublattice[point] = (char)site;
        }
        if (which == 0 && near == PLACES - 1)
            in_hole[point] = near_hole(facts, hole, high, wide, stride, x, y);
        if (which > 0) {
            const int *other = neighbours + 3 * (3 * site + which - 1);
            cell[0] += other[0];
            cell[1] += other[1];
            site = other[2];
        }
        if (near == 0)
            sites[k / PLACES] = site;
        if (near > NEAREST)
            continue;
        standing(facts, displacement, high, wide, stride, cell[0], cell[1], site, place);
        values[k] = value_near(facts, matched, rows, columns, place, near);
    }
    __syncthreads();
    for (int k = threadIdx.x; k < TELLING / PLACES; k += blockDim.x) {
        int point = begin + k / AROUND, which = k % AROUND;
        if (point >= room)
            continue;
        bool told = point < number;
        intensity[AROUND * point + which] =
            told ? intensity_by(facts, values + PLACES * k, sites[k]) : 0.0f;
        if (which == 0 && !told)
            cells[2 * point] = cells[2 * point + 1] = sublattice[point] = in_hole[point] = 0;
    }
}

/* Patches of the matched residual in the lattice's own frame, turned to the darkest of three
 * neighbours; a thread to a sample. */
extern "C" __global__ void patches_turned(
    const double *facts, int room, const float *displacement, int high, int wide, int stride,
    const float *matched, int rows, int columns, int side, double span,
    const int *cells, const char *sublattice, const float *intensity,
    char *turns, float *patches) /* (room), (room, side, side) */
{
    long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    int samples = side * side, point = (int)(index / samples), sample = (int)(index % samples);
    if (point >= room)
        return;
    const float *beside = intensity + AROUND * point + 1;
    int turn = beside[1] < beside[0] ? 1 : 0;
    if (beside[2] < beside[turn])
        turn = 2;
    if (sample == 0)
        turns[point] = (char)turn;
    patches[index] = 0.0f;
    if (point >= counted(facts, FACT_REPORTED, room)) {
        if (sample == 0)
            turns[point] = 0;
        return;
    }
    double place[2], across = ((sample % side + 0.5) / side - 0.5) * span;
    double down = ((sample / side + 0.5) / side - 0.5) * span;
    standing(facts, displacement, high, wide, stride, cells[2 * point], cells[2 * point + 1],
        sublattice[point], place);
    double angle = 2.0943951023931953 * turn, c = cos(angle), s = sin(angle);
    double x = c * across - s * down, y = s * across + c * down;
    /* the perfect crystal of lattice constant 1 has its vectors at 0 and 120 degrees */
    double v = y / sqrt(0.75), u = x + 0.5 * v;
    for (int axis = 0; axis < 2; axis++)
        place[axis] += u * facts[FACT_VECTORS + axis] + v * facts[FACT_VECTORS + 2 + axis];
    patches[index] = bilinear_at(matched, rows, columns, (float)place[0], (float)place[1])
        * (float)facts[FACT_UNIT];
}
