/* Columns of a frame, by what its own facts say. Twins: columns.SitesInside and columns.column_map,
 * labelling._gaussian_spectrum. All but the samples is in double precision.
 */

#include "selection.cuh"
#include "displaced.cuh"
#include "sites.cuh"

#define NORMAL_SIGMAS 1.4826
#define HELD 3072 /* numbers that a block has room for: sites of a sublattice in 512 x 512 pixels of WS2 */
#define BETWEEN 5120 /* of all sublattices: between their medians some 3,100 there, and most that fits */
#define AT_ONCE 8 /* loads that a thread has under way before it writes what came of them */
#define NONE __longlong_as_double(0x7ff8000000000000ll) /* NaN: no value */

/* Half spectrum of a Gaussian of unit sum along both axes; a thread to a bin of either. */
extern "C" __global__ void gaussian_spectrum(
    const double *facts, int rows, int columns, double least,
    float *down, float *across) /* (rows), (columns / 2 + 1) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x, half = columns / 2 + 1;
    if (index >= rows + half)
        return;
    bool along = index < rows;
    int bin = along ? index : index - rows;
    if (along && bin >= (rows + 1) / 2)
        bin -= rows;
    double x = 6.283185307179586 * facts[FACT_SIGMA] * (bin * (1.0 / (along ? rows : columns)));
    double weight = exp(-0.5 * (x * x));
    float *place = along ? down + index : across + bin;
    *place = weight >= least ? (float)weight : 0.0f;
}

/* Cells along one axis of the table of sites, which holds so many in all. */
__device__ static inline int cells_along(const double *facts, int axis, int most)
{
    double number = facts[FACT_CELLS + axis];
    return number >= 1.0 && number <= most ? (int)number : 1;
}

/* Cells along both axes; a table that is too small is refused, and holds one cell. */
__device__ static inline void table_size(const double *facts, int room, int *size)
{
    for (int axis = 0; axis < 2; axis++)
        size[axis] = cells_along(facts, axis, room);
    if (3ll * size[0] * size[1] > room)
        size[0] = size[1] = 1;
}

__device__ static inline double unit_of(const double *facts)
{
    return 1.0 / (0.5 * facts[FACT_HEIGHT] * (1.0 - facts[FACT_LEAK]));
}

__device__ static inline double crosstalk_of(const double *facts)
{
    double distance = facts[FACT_CONSTANT] / sqrt(3.0), sigma = facts[FACT_SIGMA];
    return exp(-(distance * distance) / (4.0 * (sigma * sigma)));
}

/* Matched residual at every site of the table, NaN outside and in holes; a thread to a site. */
extern "C" __global__ void site_values(
    double *facts, const float *matched, int rows, int columns,
    const float *displacement, const char *hole, int high, int wide, int stride,
    int room, double *values) /* (room): (3, cells, cells) of them */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x, size[2];
    if (index >= room)
        return;
    table_size(facts, room, size);
    int cells = size[0] * size[1];
    double wanted = 3.0 * facts[FACT_CELLS] * facts[FACT_CELLS + 1];
    if (index == 0 && !(wanted <= room))
        refuse(facts, REFUSAL_NO_ROOM);
    values[index] = NONE;
    if (index >= 3 * cells)
        return;
    int site = index / cells, i = index % cells / size[1], j = index % cells % size[1];
    double point[2], moved[2], margin = 0.5 * facts[FACT_CONSTANT];
    to_pixels(facts, facts[FACT_FIRST_CELL] + i + site_at(site, 0),
        facts[FACT_FIRST_CELL + 1] + j + site_at(site, 1), point);
    bool inside = point[0] >= margin && point[0] <= columns - 1 - margin;
    if (!(inside && point[1] >= margin && point[1] <= rows - 1 - margin))
        return;
    int row = min(max((int)(point[1] / stride), 0), high - 1);
    int column = min(max((int)(point[0] / stride), 0), wide - 1);
    if (hole[row * wide + column])
        return;
    displaced(displacement, high, wide, stride, point[0], point[1], moved);
    float x = (float)(point[0] + moved[0]), y = (float)(point[1] + moved[1]);
    values[index] = (double)cubic_at(matched, rows, columns, x, y) * unit_of(facts);
}

/* Values less what the six nearest sites add; a thread to a site. */
extern "C" __global__ void less_crosstalk(
    const double *facts, const double *values, int room,
    const int *neighbours, /* (3, 6, 3): sublattice and cell, from the site's own */
    double *deviation)     /* (room) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x, size[2];
    if (index >= room)
        return;
    table_size(facts, room, size);
    int cells = size[0] * size[1];
    deviation[index] = NONE;
    if (index >= 3 * cells || !(values[index] == values[index]))
        return;
    int site = index / cells, i = index % cells / size[1], j = index % cells % size[1];
    double around = 0.0, q = crosstalk_of(facts);
    for (int k = 0; k < 6; k++) {
        const int *other = neighbours + 3 * (6 * site + k);
        int down = i + other[1], across = j + other[2];
        if (down < 0 || down >= size[0] || across < 0 || across >= size[1])
            continue;
        double value = values[other[0] * cells + down * size[1] + across];
        around += value == value ? value : 0.0;
    }
    deviation[index] = (values[index] - q * around) / (1.0 - 6.0 * q * q);
}

/* Hand each of so many numbers and its place to `then`; all threads of a block. */
template <class Then> __device__ static void each_of(const double *numbers, int many, Then then)
{
    for (int begin = threadIdx.x; begin < many; begin += AT_ONCE * blockDim.x) {
        double value[AT_ONCE];
        for (int k = 0; k < AT_ONCE; k++)
            value[k] = numbers[min(begin + k * (int)blockDim.x, many - 1)];
        for (int k = 0; k < AT_ONCE; k++)
            if (begin + k * (int)blockDim.x < many)
                then(value[k], begin + k * (int)blockDim.x);
    }
}

/* Median of the known deviations of each sublattice, and spread about it; a block to each.
 *
 * The block has those that are known at hand, in any order, where there is room for them. */
extern "C" __global__ void __launch_bounds__(TOGETHER) offsets(
    double *facts, const double *deviation, int room)
{
    __shared__ double held[HELD];
    __shared__ int count;
    int size[2];
    table_size(facts, room, size);
    int cells = size[0] * size[1];
    const double *here = deviation + blockIdx.x * cells;
    if (threadIdx.x == 0)
        count = 0;
    __syncthreads();
    each_of(here, cells, [=](double value, int) {
        if (!(value == value))
            return;
        int place = atomicAdd(&count, 1);
        if (place < HELD)
            held[place] = value;
    });
    __syncthreads();
    int known = count;
    bool fits = known <= HELD;
    double found[2] = {0.0, 0.0}; /* median, and that of what is off it */
    #pragma unroll 1
    for (int turn = 0; turn < 2 && known > 0; turn++) {
        double middle = found[0];
        auto at = [=](int k) {
            double value = fits ? held[k] : here[k];
            return !(value == value) ? BEYOND : turn ? fabs(value - middle) : value;
        };
        found[turn] = median_of(at, fits ? known : cells, known);
    }
    if (threadIdx.x == 0) {
        facts[FACT_OFFSET + blockIdx.x] = found[0];
        facts[FACT_NOISE_BY_SITE + blockIdx.x] = NORMAL_SIGMAS * found[1];
    }
}

/* Median over all sublattices of what deviations are off their own, and how many are known; all threads
 * of a block.
 *
 * It lies between the medians of the sublattices, and only what lies there has to be ordered. */
__device__ static double common_spread(
    const double *facts, const double *deviation, int cells, const double *offset, int *known)
{
    __shared__ double held[BETWEEN];
    __shared__ int count;
    const double *spreads = facts + FACT_NOISE_BY_SITE;
    double first = offset[0], second = offset[1], third = offset[2];
    /* a little farther, for rounding */
    double low = min(spreads[0], min(spreads[1], spreads[2])) * (0.999 / NORMAL_SIGMAS);
    double high = max(spreads[0], max(spreads[1], spreads[2])) * (1.001 / NORMAL_SIGMAS);
    long long numbers = 0; /* of those that are known, and 32 bits on of those that are less */
    auto gap = [=](double value, int k) {
        double level = k < cells ? first : k < 2 * cells ? second : third;
        return value == value ? fabs(value - level) : BEYOND;
    };
    if (threadIdx.x == 0)
        count = 0;
    __syncthreads();
    each_of(deviation, 3 * cells, [&](double value, int k) {
        double off = gap(value, k);
        numbers += (long long)(value == value) + ((long long)(off < low) << 32);
        if (!(off >= low && off <= high && off < BEYOND))
            return;
        int place = atomicAdd(&count, 1);
        if (place < BETWEEN)
            held[place] = off;
    });
    numbers = summed(numbers);
    int every = *known = (int)(numbers & 0x7fffffff), less = (int)(numbers >> 32), between = count;
    if (every == 0)
        return 0.0;
    int lower = (every - 1) / 2, further = 1 - every % 2;
    bool fits = between <= BETWEEN && less <= lower && lower + further < less + between;
    auto at = [=](int k) { return fits ? held[k] : gap(deviation[k], k); };
    Two middle =
        two_ranked(at, fits ? between : 3 * cells, fits ? lower - less : lower, further);
    return further ? 0.5 * (middle.first + middle.second) : middle.first;
}

/* Spread over all sublattices, and all in units of the host column of the first; one block. */
extern "C" __global__ void __launch_bounds__(TOGETHER) calibration(
    double *facts, const double *deviation, int room)
{
    int size[2], known = 0;
    table_size(facts, room, size);
    double offset[3] = {facts[FACT_OFFSET], facts[FACT_OFFSET + 1], facts[FACT_OFFSET + 2]};
    double spread = common_spread(facts, deviation, size[0] * size[1], offset, &known);
    __syncthreads(); /* all have read offsets and spreads */
    if (threadIdx.x == 0) {
        double host[3];
        for (int site = 0; site < 3; site++)
            host[site] = facts[FACT_HEIGHTS + site] + offset[site];
        double scale = host[0] - host[2];
        if (known == 0)
            refuse(facts, REFUSAL_NO_SITE);
        facts[FACT_UNIT] = unit_of(facts) / scale;
        facts[FACT_CROSSTALK] = crosstalk_of(facts);
        for (int site = 0; site < 3; site++) {
            facts[FACT_HOST + site] = (host[site] - host[2]) / scale;
            facts[FACT_OFFSET + site] = offset[site] / scale;
            facts[FACT_NOISE_BY_SITE + site] /= scale;
        }
        facts[FACT_NOISE] = NORMAL_SIGMAS * spread / scale;
    }
}
