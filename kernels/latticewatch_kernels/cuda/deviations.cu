/* The sites of a frame that are judged, and by how much their columns differ, with errors.
 *
 * Twins in deviations: _sites, _less_median, _spread, _local_excess and SitesInView.deviations. All in
 * double precision; medians are exact.
 */

#include "lists.cuh"
#include "displaced.cuh"
#include "fixed.cuh"
#include "sites.cuh"

#define NORMAL_SIGMAS 1.4826

__device__ static inline bool within(double x, double y, int rows, int columns, double margin)
{
    bool across = x >= margin && x <= columns - 1 - margin;
    return across && y >= margin && y <= rows - 1 - margin;
}

/* Cell of a map at a point, edges repeated. */
__device__ static inline int cell_at(double x, double y, int stride, int high, int wide)
{
    int row = min(max((int)rint(y) / stride, 0), high - 1);
    return row * wide + min(max((int)rint(x) / stride, 0), wide - 1);
}

/* Number of the cells that cover the frame, and how many lie along a2; 0 beyond the room. */
__device__ static inline int covering(const double *facts, int room, int *wide)
{
    double along = facts[FACT_CELLS], across = facts[FACT_CELLS + 1];
    bool fits = along >= 1.0 && across >= 1.0 && 3.0 * along * across <= room;
    *wide = fits ? (int)across : 1;
    return fits ? (int)along * *wide : 0;
}

/* Whether a site of the covering cells is judged, and where it is. */
__device__ static bool in_view(
    const double *facts, const float *amplitude, const float *displacement, int high, int wide, int stride,
    const char *hole, int rows, int columns, double margin, double sound, int index, int cells,
    int wide_cells, double *point)
{
    int site = index / cells, cell = index % cells;
    double moved[2], u = facts[FACT_FIRST_CELL] + cell / wide_cells;
    double v = facts[FACT_FIRST_CELL + 1] + cell % wide_cells;
    to_pixels(facts, u + site_at(site, 0), v + site_at(site, 1), point);
    if (!within(point[0], point[1], rows, columns, 0.0))
        return false;
    displaced(displacement, high, wide, (double)stride, point[0], point[1], moved);
    double x = point[0] = point[0] + moved[0], y = point[1] = point[1] + moved[1];
    if (!within(x, y, rows, columns, margin * facts[FACT_CONSTANT]))
        return false;
    if (!(x >= 0.0 && y >= 0.0 && x <= columns - 1 && y <= rows - 1))
        return false;
    if (!(amplitude[cell_at(x, y, stride, high, wide)] >= sound))
        return false;
    return !hole[(long long)rint(y) * columns + (int)rint(x)];
}

/* Which sites of the covering cells are judged, where they are, and how many of the block's come before
 * each; a block to TOGETHER sites. */
extern "C" __global__ void __launch_bounds__(TOGETHER) sites_in_view(
    const double *facts, const float *amplitude, const float *displacement, int high, int wide, int stride,
    const char *hole, int rows, int columns, double margin, double sound, int room,
    char *kept, double *points, int *before, int *counts, int *extent) /* (room), (room, 2), (room),
                                                                        * (parts), (2) */
{
    int wide_cells, cells = covering(facts, room, &wide_cells);
    auto judged = [=](int k) {
        return k < 3 * cells
            && in_view(facts, amplitude, displacement, high, wide, stride, hole, rows, columns, margin,
                sound, k, cells, wide_cells, points + 2 * k);
    };
    int total = kept_of_block(judged, room, kept, before);
    if (threadIdx.x == 0) {
        counts[blockIdx.x] = total;
        if (blockIdx.x == 0)
            extent[0] = extent[1] = 1;
    }
}

/* Number of whole lattice constants to a place, at most `most`, whatever the two hold. */
__device__ static inline int constants_to(double place, double constant, int most)
{
    double number = place / constant;
    return number >= 0.0 ? (int)min(number, (double)most) : 0;
}

/* The sites that are judged one after the other, the rest zeros; a block to TOGETHER sites.
 *
 * `extent` is how many cells of one lattice constant hold them, (2): along x and y.
 */
extern "C" __global__ void __launch_bounds__(TOGETHER) sites_gathered(
    double *facts, const char *kept, const double *points, const int *before, const int *counts,
    int parts, int room, int most, int most_down, int most_across,
    int *cells, char *sublattice, double *places, int *extent) /* (most, 2), (most), (most, 2), (2) */
{
    __shared__ int longest[2];
    int total, wide, found = covering(facts, room, &wide), every = max(found, 1);
    int reach[2] = {1, 1}, begin = blockIdx.x * TOGETHER, end = min(begin + TOGETHER, room);
    double constant = facts[FACT_CONSTANT];
    if (threadIdx.x == 0)
        longest[0] = longest[1] = 1;
    int earlier = kept_before(counts, parts, &total);
    for (int k = begin + threadIdx.x; k < end; k += blockDim.x) {
        int place = earlier + before[k];
        if (k % every == 0 && k < 3 * every)
            facts[FACT_STARTS + k / every] = place;
        if (!kept[k] || place >= most)
            continue;
        double x = points[2 * k], y = points[2 * k + 1];
        cells[2 * place] = (int)facts[FACT_FIRST_CELL] + k % every / wide;
        cells[2 * place + 1] = (int)facts[FACT_FIRST_CELL + 1] + k % every % wide;
        sublattice[place] = (char)(k / every);
        places[2 * place] = x;
        places[2 * place + 1] = y;
        reach[0] = max(reach[0], constants_to(x, constant, most_across - 1) + 1);
        reach[1] = max(reach[1], constants_to(y, constant, most_down - 1) + 1);
    }
    for (int axis = 0; axis < 2; axis++)
        atomicMax(&longest[axis], reach[axis]);
    for (int part = begin; part < most; part += parts * TOGETHER)
        for (int k = max(part, total) + threadIdx.x; k < min(part + TOGETHER, most); k += blockDim.x) {
            cells[2 * k] = cells[2 * k + 1] = sublattice[k] = 0;
            places[2 * k] = places[2 * k + 1] = 0.0;
        }
    __syncthreads();
    if (threadIdx.x != 0)
        return;
    for (int axis = 0; axis < 2; axis++)
        atomicMax(&extent[axis], longest[axis]);
    if (blockIdx.x == 0) {
        facts[FACT_SITES] = min(total, most);
        if (found == 0 || total > most)
            refuse(facts, REFUSAL_NO_ROOM);
    }
}

/* Height of each column less its sublattice's median where it stands out, else 0, and a list of those
 * that do, in any order, from where their sublattice begins; a block to each sublattice. */
extern "C" __global__ void __launch_bounds__(TOGETHER) strong_sites(
    const double *facts, const double *plain, const double *roots, int room, double sigmas,
    double *heights, int *listed, int *numbers) /* (room), (room), (3) */
{
    __shared__ int count;
    int begin, number;
    sites_of(facts, blockIdx.x, room, &begin, &number);
    if (threadIdx.x == 0)
        count = 0;
    __syncthreads();
    if (number > 0) {
        auto height = [=](int k) { return plain[begin + k]; };
        double middle = median(height, number);
        auto size = [=](int k) { return fabs(height(k) - middle) * roots[begin + k]; };
        double most = sigmas * (NORMAL_SIGMAS * median(size, number));
        for (int k = threadIdx.x; k < number; k += blockDim.x) {
            bool strong = size(k) > most;
            heights[begin + k] = strong ? height(k) - middle : 0.0;
            if (strong)
                listed[begin + atomicAdd(&count, 1)] = begin + k;
        }
    }
    __syncthreads();
    if (threadIdx.x == 0)
        numbers[blockIdx.x] = count;
}

/* Cell of one lattice constant that a point lies in, within the table. */
__device__ static inline int coarse_cell(
    const double *facts, const double *points, const int *extent, int most_down, int most_across, int k)
{
    double constant = facts[FACT_CONSTANT];
    int wide = min(extent[0], most_across), high = min(extent[1], most_down);
    int x = constants_to(points[2 * k], constant, wide - 1);
    int y = constants_to(points[2 * k + 1], constant, high - 1);
    return x * high + y; /* as the twin's table lies */
}

/* Deviation of each column, strong ones beside what is left without them, and its error in units of
 * the image; and by cells of one lattice constant the clipped squares of the one over the other, and
 * numbers of columns. A block to each sublattice. */
extern "C" __global__ void __launch_bounds__(TOGETHER) site_heights(
    const double *facts, const double *plain, const double *roots, const double *strong,
    const double *points, const int *extent, int room, int most_down, int most_across, double clip,
    double *deviation, double *error, /* (room) */
    fixed *sums)                      /* (2, most_across * most_down), zeros */
{
    int begin, number;
    sites_of(facts, blockIdx.x, room, &begin, &number);
    if (number == 0)
        return;
    auto height = [=](int k) { return plain[begin + k]; };
    double middle = median(height, number), most = clip * clip;
    auto size = [=](int k) { return fabs(height(k) - middle) * roots[begin + k]; };
    double sigma = NORMAL_SIGMAS * median(size, number);
    for (int k = threadIdx.x; k < number; k += blockDim.x) {
        double off = height(k) - middle + strong[begin + k], width = sigma / roots[begin + k];
        double z = off / width, square = z * z;
        deviation[begin + k] = off;
        error[begin + k] = width;
        int cell = coarse_cell(facts, points, extent, most_down, most_across, begin + k);
        add_fixed(sums + cell, square < most ? square : most);
        add_fixed(sums + most_across * most_down + cell, 1.0);
    }
}

/* Index that lies mirrored at the ends, the edge repeated (scipy's reflect). */
__device__ static inline int mirrored(int k, int size)
{
    int period = 2 * size;
    k = (k % period + period) % period;
    return k < size ? k : period - 1 - k;
}

/* One pass of a Gaussian filter over both tables, along an axis; a thread to a cell of either.
 *
 * The first pass reads whole multiples, the second gives the ratio of the two as a spread.
 */
extern "C" __global__ void coarse_filtered(
    const int *extent, int most_down, int most_across, const double *weights, int reach,
    const fixed *sums, const double *before, int axis, /* (2, most_across * most_down) */
    double *after)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x, room = most_across * most_down;
    int wide = min(extent[0], most_across), high = min(extent[1], most_down);
    if (index >= 2 * wide * high)
        return;
    int map = index / (wide * high), place = index % (wide * high), x = place / high, y = place % high;
    double sum = 0.0;
    for (int k = -reach; k <= reach; k++) {
        int other = axis ? x * high + mirrored(y + k, high) : mirrored(x + k, wide) * high + y;
        double value = axis ? before[map * room + other] : from_fixed(sums[map * room + other]);
        sum += weights[k + reach] * value;
    }
    after[map * room + place] = sum;
}

/* Spread of the columns around each, by what it was expected to be; a thread to a site. */
extern "C" __global__ void local_spreads(
    const double *facts, const double *points, const int *extent, int room,
    int most_down, int most_across, const double *filtered, double *spreads) /* (room) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x, table = most_across * most_down;
    if (index >= counted(facts, FACT_SITES, room))
        return;
    int cell = coarse_cell(facts, points, extent, most_down, most_across, index);
    spreads[index] = sqrt(max(filtered[cell], 0.0) / max(filtered[table + cell], 1e-12));
}

/* Median of these spreads, 1 without any; one block. */
extern "C" __global__ void __launch_bounds__(TOGETHER) middle_spread(
    const double *facts, const double *spreads, int room, double *middle) /* (room), one */
{
    int number = counted(facts, FACT_SITES, room);
    double found = 1.0;
    if (number > 0)
        found = max(median([=](int k) { return spreads[k]; }, number), 1e-12);
    if (threadIdx.x == 0)
        middle[0] = found;
}

/* Errors by the spread of the columns around each, in units of the host column, and levels there; a
 * thread to a site. */
extern "C" __global__ void errors_scaled(
    const double *facts, const double *points, int room, const double *middle, double least,
    const float *level, int high, int wide, int stride,
    double *deviation, double *error, double *levels) /* (room); of levels, spreads come */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= room)
        return;
    bool here = index < counted(facts, FACT_SITES, room);
    double unit = 0.5 * facts[FACT_UNIT], excess = here ? max(levels[index] / middle[0], least) : 0.0;
    deviation[index] = here ? deviation[index] * unit : 0.0;
    error[index] = here ? error[index] * excess * unit : 0.0;
    double x = points[2 * index], y = points[2 * index + 1];
    levels[index] = here ? level[cell_at(x, y, stride, high, wide)] : 0.0;
}
