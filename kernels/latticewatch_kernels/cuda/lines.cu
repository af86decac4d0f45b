/* Noise over intensity, the shifts of scan lines, and the maps that labels are made of.
 *
 * Twins: noise.IntensityClasses, straightening.measure_row_shifts and straightening.straighten, and
 * labelling.label. Sums are in double precision; medians are exact.
 */

#include "neighbours.cuh"
#include "noise.cuh"
#include "selection.cuh"

#define NORMAL_SIGMAS 1.4826
#define CLASSES 8
#define ROWS 4    /* to a block that sums along them */
#define SUMS 4    /* numbers of a row */
#define AT_ONCE 8 /* pixels that a thread has under way before it looks at the first */

/* Pixels of a class that a block has room for; of a frame of 512 x 512 it has some 2,500. */
#define HELD 4096

/* Intensity of an even sample, infinite in holes, one pixel beside the next: what reads it in many
 * passes would have to fetch a pixel and its neighbours for each. A thread to a pixel of it. */
extern "C" __global__ void sampled(
    const float *periodic, const char *hole, int step, int number, float *sample) /* (number) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= number)
        return;
    long long place = (long long)index * step;
    float level = periodic[place];
    sample[index] = hole[place] ? (float)BEYOND : level;
}

__device__ static int pixels_kept(const float *sample, int number)
{
    int kept = 0;
    for (int k = threadIdx.x; k < number; k += blockDim.x)
        kept += sample[k] < (float)BEYOND;
    return summed(kept);
}

/* Where class k of so many pixels by rising intensity begins. */
__device__ static int begins(int k, int number)
{
    return k * (number / CLASSES) + min(k, number % CLASSES);
}

/* Least intensity of each class and the two about its middle, of an even sample; a block to the one and
 * one to the others. */
extern "C" __global__ void __launch_bounds__(TOGETHER) classes(
    const float *sample, int number,
    double *levels) /* (CLASSES, 3): the least, and two about the middle */
{
    int kept = pixels_kept(sample, number), k = blockIdx.x / 2, first = begins(k, kept);
    int size = begins(k + 1, kept) - first;
    bool middle = blockIdx.x % 2;
    int rank = min(max(first + (middle ? (size - 1) / 2 : 0), 0), number - 1);
    int further = middle && size > 0 && size % 2 == 0 && rank + 1 < number;
    Two found = two_ranked([=](int pixel) { return sample[pixel]; }, number, rank, further);
    if (threadIdx.x == 0) {
        levels[3 * k + middle] = found.first;
        if (middle)
            levels[3 * k + 2] = found.second;
    }
}

/* Robust variance of a residual in each class; one block to a class.
 *
 * The block lists the pixels of its class, in any order, and has their values at hand from then on. */
extern "C" __global__ void __launch_bounds__(TOGETHER) class_variances(
    const float *residual, int step, const float *sample, int number,
    const double *levels, double *variances) /* (CLASSES, 3), (CLASSES) */
{
    __shared__ union { int number; float value; } held[HELD];
    __shared__ int count;
    int k = blockIdx.x;
    /* single precision, as these are */
    float low = k == 0 ? -(float)BEYOND : (float)levels[3 * k];
    float high = k + 1 < CLASSES ? (float)levels[3 * k + 3] : (float)BEYOND;
    auto size_at = [=](int pixel) { return fabsf(residual[(long long)pixel * step]); };
    if (threadIdx.x == 0)
        count = 0;
    __syncthreads();
    for (int begin = threadIdx.x; begin < number; begin += AT_ONCE * blockDim.x) {
        float level[AT_ONCE];
        for (int k = 0; k < AT_ONCE; k++)
            level[k] = begin + k * (int)blockDim.x < number ? sample[begin + k * blockDim.x] : (float)BEYOND;
        for (int k = 0; k < AT_ONCE; k++)
            if (level[k] >= low && level[k] < high) {
                int place = atomicAdd(&count, 1);
                if (place < HELD)
                    held[place].number = begin + k * blockDim.x;
            }
    }
    __syncthreads();
    int size = count;
    bool fits = size <= HELD;
    for (int own = threadIdx.x; own < size && fits; own += blockDim.x)
        held[own].value = size_at(held[own].number);
    __syncthreads();
    auto at = [=](int own) {
        if (fits)
            return held[own].value;
        return sample[own] >= low && sample[own] < high ? size_at(own) : (float)BEYOND;
    };
    double spread = size > 0 ? NORMAL_SIGMAS * median_of(at, fits ? size : number, size) : 0.0;
    if (threadIdx.x == 0)
        variances[k] = spread * spread;
}

/* The line through the variances, each weighted by its inverse; one thread. */
extern "C" __global__ void fit_line(
    const double *levels, const double *variances, double tiny,
    double *line) /* slope, base, least */
{
    if (blockIdx.x * blockDim.x + threadIdx.x)
        return;
    double sums[5] = {0.0, 0.0, 0.0, 0.0, 0.0}, least = variances[0];
    for (int k = 0; k < CLASSES; k++) {
        double middle = 0.5 * (levels[3 * k + 1] + levels[3 * k + 2]);
        double root = 1.0 / max(variances[k], 1e-30), weight = root * root;
        sums[0] += weight;
        sums[1] += weight * middle;
        sums[2] += weight * variances[k];
        least = min(least, variances[k]);
    }
    double centre = sums[1] / sums[0], level = sums[2] / sums[0];
    for (int k = 0; k < CLASSES; k++) {
        double off = 0.5 * (levels[3 * k + 1] + levels[3 * k + 2]) - centre;
        double root = 1.0 / max(variances[k], 1e-30), weight = root * root;
        sums[3] += weight * off * off;
        sums[4] += weight * off * (variances[k] - level);
    }
    line[0] = sums[3] > 0.0 ? sums[4] / sums[3] : 0.0;
    line[1] = level - line[0] * centre;
    line[2] = max(0.5 * least, tiny);
}

/* What the shift of each row is told by; a warp to a row, ROWS of them to a block. */
extern "C" __global__ void __launch_bounds__(TOGETHER) row_sums(
    const float *residual, const float *periodic, const char *hole, int rows, int columns,
    const double *line,
    double *sums) /* (SUMS, rows), so that rows are read in one go: information, pull, squares, empty */
{
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, top = blockIdx.x * ROWS;
    double noise[3] = {line[0], line[1], line[2]};
    for (int row = top + warp; row < min(top + ROWS, rows); row += blockDim.x / WARP) {
        double sum[SUMS] = {0.0, 0.0, 0.0, 0.0};
        long long begin = (long long)row * columns;
        int holes = 0;
        /* some at a time, with no branch, so that a thread waits once for several; products are
         * rounded to single precision, as the twin's are */
        for (int first = lane; first < columns; first += AT_ONCE * WARP)
            for (int j = 0; j < AT_ONCE; j++) {
                int column = min(first + j * WARP, columns - 1);
                bool here = first + j * WARP < columns, empty = hole[begin + column];
                float before = periodic[begin + max(column - 1, 0)];
                float after = periodic[begin + min(column + 1, columns - 1)];
                bool between = column > 0 && column < columns - 1, counts = here && !empty;
                float slope = between && counts ? 0.5f * (after - before) : 0.0f;
                float read = residual[begin + column], left = counts ? read : 0.0f;
                float weight = counts ? 1.0f / variance_at(periodic[begin + column], noise) : 0.0f;
                sum[0] += slope * weight * slope;
                sum[1] += slope * weight * left;
                sum[2] += left * weight * left;
                holes += here && empty;
            }
        sum[3] = holes;
        for (int k = 0; k < SUMS; k++) {
            for (int other = WARP / 2; other > 0; other /= 2)
                sum[k] += of_lane(sum[k], other);
            if (lane == 0)
                sums[(long long)k * rows + row] = sum[k];
        }
    }
}

/* Shift of each row, shrunk by what is not known of it, and the jitter; one block. */
extern "C" __global__ void __launch_bounds__(TOGETHER) row_shifts(
    const double *sums, int rows, int columns, double certain,
    double part, const double *constant, /* the longest shift, and what it is a part of */
    double *error,                       /* (rows), scratch */
    double *shifts)                      /* (rows + 1): of each row, then the jitter */
{
    double longest = part * constant[0];
    double squares = 0.0, empty = 0.0;
    int known = 0;
    for (int row = threadIdx.x; row < rows; row += blockDim.x) {
        double information = max(sums[row], 1e-12);
        squares += sums[2 * rows + row];
        empty += sums[3 * rows + row];
        shifts[row] = -sums[rows + row] / information;
        error[row] = 1.0 / information;
    }
    squares = summed(squares);
    empty = summed(empty);
    double misfit = squares / max((double)rows * columns - empty, 1.0);
    for (int row = threadIdx.x; row < rows; row += blockDim.x) {
        error[row] = sqrt(max(misfit, 1.0) * error[row]);
        known += error[row] < certain;
    }
    known = summed(known);
    if (known == 0) {
        for (int row = threadIdx.x; row <= rows; row += blockDim.x)
            shifts[row] = 0.0;
        return;
    }
    auto told = [=](int row, double value) { return error[row] < certain ? value : BEYOND; };
    auto shift = [=](int row) { return told(row, shifts[row]); };
    double middle = median_of(shift, rows, known);
    for (int row = threadIdx.x; row < rows; row += blockDim.x)
        shifts[row] -= middle;
    __syncthreads();
    auto size = [=](int row) { return told(row, fabs(shifts[row])); };
    auto noise = [=](int row) { return told(row, error[row] * error[row]); };
    double spread = NORMAL_SIGMAS * median_of(size, rows, known);
    double own = spread * spread - median_of(noise, rows, known);
    own = max(own, 0.0);
    for (int row = threadIdx.x; row < rows; row += blockDim.x) {
        double factor = error[row] < certain ? own / (own + error[row] * error[row]) : 0.0;
        shifts[row] = min(max(shifts[row] * factor, -longest), longest);
    }
    if (threadIdx.x == 0)
        shifts[rows] = sqrt(own);
}

/* A row that is put back: whole pixels, and weights of the four about the rest. */
struct Moved {
    int whole;
    float weights[4];
};

__device__ static Moved moved_by(double shift)
{
    int whole = (int)floor(shift);
    float t = (float)(shift - whole), t2 = t * t, t3 = t2 * t;
    return {whole,
            {-0.5f * t3 + t2 - 0.5f * t, 1.5f * t3 - 2.5f * t2 + 1.0f,
             -1.5f * t3 + 2.0f * t2 + 0.5f * t, 0.5f * t3 - 0.5f * t2}};
}

/* So many neighbours of a row that is put back, of those that it has, from a column on. */
template <int NUMBER>
__device__ static void put_back(
    const float *row, int column, int columns, const Moved &moved, float *values)
{
    float read[NUMBER + 3];
    for (int k = 0; k < NUMBER + 3; k++)
        read[k] = row[min(max(column + moved.whole - 1 + k, 0), columns - 1)];
    for (int j = 0; j < NUMBER; j++) {
        values[j] = 0.0f;
        for (int k = 0; k < 4; k++)
            values[j] += moved.weights[k] * read[j + k];
    }
}

/* Rows put back where jitter is worth it, and what is left of them; a thread to neighbouring pixels. */
extern "C" __global__ void straightened(
    const float *image, const float *periodic, const char *hole, int rows, int columns,
    const double *shifts, double worth, float *straight, float *residual)
{
    long long first = first_neighbour();
    int here = neighbours_here(first, (long long)rows * columns);
    if (here <= 0)
        return;
    Neighbours<float> values, expected;
    Neighbours<char> empty;
    fetch(here, image + first, values, periodic + first, expected, hole + first, empty);
    if (shifts[rows] >= worth) {
        Pixel at = pixel_at(first, columns);
        const float *row = image + (long long)at.row * columns;
        if (at.column + NEIGHBOURS <= columns)
            put_back<NEIGHBOURS>(row, at.column, columns, moved_by(shifts[at.row]), values.of);
        else
            for (int j = 0; j < NEIGHBOURS; j++, at.next(columns)) {
                int own = min(at.row, rows - 1); /* where nothing is, the last row is put back */
                row = image + (long long)own * columns;
                put_back<1>(row, at.column, columns, moved_by(shifts[own]), values.of + j);
            }
    }
    for (int j = 0; j < NEIGHBOURS; j++)
        expected.of[j] = empty.of[j] ? 0.0f : values.of[j] - expected.of[j];
    put(straight + first, here, values);
    put(residual + first, here, expected);
}

/* A half spectrum times a Gaussian's, along each axis, and a factor; one thread to a bin. */
extern "C" __global__ void smoothed_spectrum(
    float *spectrum, int rows, int columns, const float *down, const float *across, float factor)
{
    long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= (long long)rows * columns)
        return;
    Pixel at = pixel_at(index, columns);
    Bin *place = (Bin *)spectrum + index, bin = *place;
    float along = down[at.row], aside = across[at.column];
    *place = {bin.real * along * aside * factor, bin.imaginary * along * aside * factor};
}

/* An image that is made 0 in holes, where there are any; a thread to neighbouring pixels. */
extern "C" __global__ void holes_cleared(const char *hole, int rows, int columns, float *image)
{
    long long first = first_neighbour();
    int here = neighbours_here(first, (long long)rows * columns);
    if (here <= 0)
        return;
    Neighbours<char> empty = neighbours(hole + first, here);
    for (int j = 0; j < NEIGHBOURS; j++)
        if (j < here && empty.of[j])
            image[first + j] = 0.0f;
}

/* Matched residual with holes left out, its significance, and what is beyond; a thread to neighbouring
 * pixels. */
extern "C" __global__ void significance(
    const float *smooth, const float *periodic, const char *hole, int rows, int columns,
    const double *line, float threshold, float *matched, float *z, char *bright, char *dark)
{
    long long first = first_neighbour();
    int here = neighbours_here(first, (long long)rows * columns);
    if (here <= 0)
        return;
    Neighbours<float> values, level, over;
    Neighbours<char> empty, above, below;
    fetch(here, smooth + first, values, periodic + first, level, hole + first, empty);
    for (int j = 0; j < NEIGHBOURS; j++) {
        values.of[j] = empty.of[j] ? 0.0f : values.of[j];
        over.of[j] = values.of[j] / sqrtf(variance_at(level.of[j], line));
        above.of[j] = over.of[j] > threshold && !empty.of[j];
        below.of[j] = over.of[j] < -threshold && !empty.of[j];
    }
    put(matched + first, here, values);
    put(z + first, here, over);
    put(bright + first, here, above);
    put(dark + first, here, below);
}
