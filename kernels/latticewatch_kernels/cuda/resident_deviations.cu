/* The sites of a frame that are judged, and by how much their columns differ, with errors.
 *
 * Twins in deviations: _sites, _less_median, _spread, _local_excess and SitesInView.deviations. All in
 * double precision; medians are exact.
 */

#include "selection.cuh"
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

/* Whether each site of the covering cells is judged, and where it is; a thread to a site. */
extern "C" __global__ void sites_in_view(
    double *facts, const float *amplitude, const float *displacement, int high, int wide, int stride,
    const char *hole, int rows, int columns, double margin, double sound, int room,
    char *kept, double *points) /* (room), (room, 2) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= room)
        return;
    kept[index] = 0;
    double along[2] = {facts[FACT_CELLS], facts[FACT_CELLS + 1]};
    if (!(along[0] >= 1.0 && along[1] >= 1.0 && 3.0 * along[0] * along[1] <= room)) {
        if (index == 0)
            refuse(facts, REFUSAL_NO_ROOM);
        return;
    }
    int wide_cells = (int)along[1], cells = (int)along[0] * wide_cells;
    if (index >= 3 * cells)
        return;
    int site = index / cells, cell = index % cells;
    double point[2], moved[2], u = facts[FACT_FIRST_CELL] + cell / wide_cells;
    double v = facts[FACT_FIRST_CELL + 1] + cell % wide_cells;
    to_pixels(facts, u + site_at(site, 0), v + site_at(site, 1), point);
    if (!within(point[0], point[1], rows, columns, 0.0))
        return;
    displaced(displacement, high, wide, (double)stride, point[0], point[1], moved);
    double x = point[0] + moved[0], y = point[1] + moved[1];
    if (!within(x, y, rows, columns, margin * facts[FACT_CONSTANT]))
        return;
    if (!(x >= 0.0 && y >= 0.0 && x <= columns - 1 && y <= rows - 1))
        return;
    if (!(amplitude[cell_at(x, y, stride, high, wide)] >= sound))
        return;
    if (hole[(long long)rint(y) * columns + (int)rint(x)])
        return;
    kept[index] = 1;
    points[2 * index] = x;
    points[2 * index + 1] = y;
}

/* The sites that are judged one after the other, the rest zeros; one block.
 *
 * `extent` is what `local_excess` wants: cells of one lattice constant that hold them, (2).
 */
extern "C" __global__ void __launch_bounds__(TOGETHER) sites_gathered(
    double *facts, const char *kept, const double *points, int room, int most_down, int most_across,
    int *cells, char *sublattice, double *places, int *extent) /* (room, 2), (room), (room, 2), (2) */
{
    __shared__ int counts[TOGETHER], longest[2];
    int each = (room + blockDim.x - 1) / blockDim.x, thread = threadIdx.x, first[2] = {0, 0};
    int begin = min(thread * each, room), end = min(begin + each, room), own = 0, reach[2] = {1, 1};
    bool fits = 3.0 * facts[FACT_CELLS] * facts[FACT_CELLS + 1] <= room;
    int wide = fits ? max((int)facts[FACT_CELLS + 1], 1) : 1;
    int every = fits ? max((int)facts[FACT_CELLS] * wide, 1) : 1;
    double constant = facts[FACT_CONSTANT];
    for (int k = begin; k < end; k++) {
        own += kept[k];
        first[0] += kept[k] && k < every;
        first[1] += kept[k] && k < 2 * every;
    }
    first[0] = summed(first[0]);
    first[1] = summed(first[1]);
    counts[thread] = own;
    if (thread == 0)
        longest[0] = longest[1] = 1;
    __syncthreads();
    for (int width = 1; width < blockDim.x; width *= 2) {
        int before = thread >= width ? counts[thread - width] : 0;
        __syncthreads();
        counts[thread] += before;
        __syncthreads();
    }
    int place = counts[thread] - own, total = counts[blockDim.x - 1];
    for (int k = begin; k < end; k++) {
        if (!kept[k])
            continue;
        double x = points[2 * k], y = points[2 * k + 1];
        cells[2 * place] = (int)facts[FACT_FIRST_CELL] + k % every / wide;
        cells[2 * place + 1] = (int)facts[FACT_FIRST_CELL + 1] + k % every % wide;
        sublattice[place] = (char)min(k / every, 2);
        places[2 * place] = x;
        places[2 * place + 1] = y;
        reach[0] = max(reach[0], (int)min(max(x / constant, 0.0), most_across - 1.0) + 1);
        reach[1] = max(reach[1], (int)min(max(y / constant, 0.0), most_down - 1.0) + 1);
        place++;
    }
    for (int axis = 0; axis < 2; axis++)
        atomicMax(&longest[axis], reach[axis]);
    for (int k = total + thread; k < room; k += blockDim.x) {
        cells[2 * k] = cells[2 * k + 1] = sublattice[k] = 0;
        places[2 * k] = places[2 * k + 1] = 0.0;
    }
    __syncthreads();
    if (thread == 0) {
        extent[0] = longest[0];
        extent[1] = longest[1];
        facts[FACT_SITES] = total;
        facts[FACT_STARTS] = 0.0;
        facts[FACT_STARTS + 1] = first[0];
        facts[FACT_STARTS + 2] = first[1];
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

/* Height of each column less its sublattice's median where it stands out, else 0; a block to each. */
extern "C" __global__ void __launch_bounds__(TOGETHER) strong_sites(
    const double *facts, const float *squares, const float *responses, int room, double sigmas,
    double *heights) /* (room) */
{
    int begin, number;
    sites_of(facts, blockIdx.x, room, &begin, &number);
    if (number == 0)
        return;
    auto energy = [=](int k) { return max((double)squares[begin + k], 1e-12); };
    auto plain = [=](int k) { return responses[begin + k] / energy(k); };
    double middle = median(plain, number, 0);
    auto deviation = [=](int k) { return fabs(plain(k) - middle) * sqrt(energy(k)); };
    double sigma = NORMAL_SIGMAS * median(deviation, number, 0);
    for (int k = threadIdx.x; k < number; k += blockDim.x)
        heights[begin + k] = deviation(k) > sigmas * sigma ? plain(k) - middle : 0.0;
}

/* Deviation of each column, strong ones beside what is left without them, and its error in units of
 * the image; a block to each sublattice. */
extern "C" __global__ void __launch_bounds__(TOGETHER) site_heights(
    const double *facts, const float *squares, const float *cleared, const double *strong, int room,
    double *deviation, double *error) /* (room) */
{
    int begin, number;
    sites_of(facts, blockIdx.x, room, &begin, &number);
    if (number == 0)
        return;
    auto energy = [=](int k) { return max((double)squares[begin + k], 1e-12); };
    auto plain = [=](int k) { return cleared[begin + k] / energy(k); };
    double middle = median(plain, number, 0);
    auto size = [=](int k) { return fabs(plain(k) - middle) * sqrt(energy(k)); };
    double sigma = NORMAL_SIGMAS * median(size, number, 0);
    for (int k = threadIdx.x; k < number; k += blockDim.x) {
        deviation[begin + k] = plain(k) - middle + strong[begin + k];
        error[begin + k] = sigma / sqrt(energy(k));
    }
}

/* Cell of one lattice constant that a point lies in, within the table. */
__device__ static inline int coarse_cell(
    const double *facts, const double *points, const int *extent, int most_down, int most_across, int k)
{
    double constant = facts[FACT_CONSTANT];
    int wide = min(extent[0], most_across), high = min(extent[1], most_down);
    int x = (int)min(max(points[2 * k] / constant, 0.0), wide - 1.0);
    int y = (int)min(max(points[2 * k + 1] / constant, 0.0), high - 1.0);
    return x * high + y; /* as the twin's table lies */
}

/* Squares of deviations over errors, clipped, and numbers of columns, by cells; a thread to a site. */
extern "C" __global__ void coarse_sums(
    const double *facts, const double *deviation, const double *error, const double *points,
    const int *extent, int room, int most_down, int most_across, double clip,
    fixed *sums) /* (2, most_across * most_down), zeros */
{
    int k = blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= counted(facts, FACT_SITES, room))
        return;
    double z = deviation[k] / error[k], square = min(z * z, clip * clip);
    int cell = coarse_cell(facts, points, extent, most_down, most_across, k);
    add_fixed(sums + cell, square == square ? square : clip * clip);
    add_fixed(sums + most_across * most_down + cell, 1.0);
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

/* Errors by the spread of the columns around each, in units of the host column; one block. */
extern "C" __global__ void __launch_bounds__(TOGETHER) errors_scaled(
    const double *facts, const double *points, const int *extent, int room,
    int most_down, int most_across, const double *filtered, double least,
    const float *level, int high, int wide, int stride,
    double *deviation, double *error, double *levels) /* (room) */
{
    int number = counted(facts, FACT_SITES, room), table = most_across * most_down;
    double unit = 0.5 * facts[FACT_UNIT], middle = 1.0;
    auto local = [=](int k) {
        int cell = coarse_cell(facts, points, extent, most_down, most_across, k);
        return sqrt(max(filtered[cell], 0.0) / max(filtered[table + cell], 1e-12));
    };
    if (number > 0)
        middle = max(median(local, number, 0), 1e-12);
    for (int k = threadIdx.x; k < room; k += blockDim.x) {
        bool here = k < number;
        double excess = here ? max(local(k) / middle, least) : 0.0;
        deviation[k] = here ? deviation[k] * unit : 0.0;
        error[k] = here ? error[k] * excess * unit : 0.0;
        double x = points[2 * k], y = points[2 * k + 1];
        levels[k] = here ? level[cell_at(x, y, stride, high, wide)] : 0.0;
    }
}
