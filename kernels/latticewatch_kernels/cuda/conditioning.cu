/* A frame with its background flattened and its contrast set: read twice, written once.
 *
 * Twin: conditioning.condition. What it does in single precision is done in double here and rounded
 * where it is kept.
 */

#include "selection.cuh"

/* Threads that find a background: what each has to do is long, and fewer wait shorter. */
#define LEVELLING 256

/* Standard deviations of a normal distribution to its median absolute deviation. */
#define NORMAL_SIGMAS 1.4826

/* Pixel of a frame; types are numbered as in resident.conditioning.KINDS. */
__device__ static double pixel(const char *frame, int kind, long long place)
{
    switch (kind) {
    case 0: return ((const unsigned char *)frame)[place];
    case 1: return ((const unsigned short *)frame)[place];
    case 2: return ((const unsigned int *)frame)[place];
    case 3: return ((const signed char *)frame)[place];
    case 4: return ((const short *)frame)[place];
    case 5: return ((const int *)frame)[place];
    case 6: return ((const float *)frame)[place];
    default: return ((const double *)frame)[place];
    }
}

__device__ static double lesser(double a, double b) { return b < a || b != b ? b : a; }
__device__ static double greater(double a, double b) { return b > a || b != b ? b : a; }

/* Sum, least and greatest of each column within strips of rows; one thread to a column of a strip. */
extern "C" __global__ void strips(
    const char *frame, int kind, int rows, int columns, int block, int number,
    double *sums, double *least, double *most) /* (number, columns) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= number * columns)
        return;
    int first = index / columns * block, last = min(first + block, rows);
    long long place = (long long)first * columns + index % columns;
    double sum = 0.0, low = pixel(frame, kind, place), high = low;
    for (int row = first; row < last; row++, place += columns) {
        double value = pixel(frame, kind, place);
        sum += value;
        low = lesser(low, value);
        high = greater(high, value);
    }
    sums[index] = sum;
    least[index] = low;
    most[index] = high;
}

/* Least and greatest of each strip of rows, and the sum of each whole block of pixels in it; a block of
 * threads to a strip. */
extern "C" __global__ void __launch_bounds__(TOGETHER) strips_joined(
    const double *sums, const double *least, const double *most, int columns,
    int block, int high, int wide,
    double *bounds, double *totals) /* (strips, 2), (high, wide) */
{
    long long begin = (long long)blockIdx.x * columns;
    double low = least[begin], top = most[begin];
    for (int k = threadIdx.x; k < columns; k += blockDim.x) {
        low = lesser(low, least[begin + k]);
        top = greater(top, most[begin + k]);
    }
    low = joined(low, lesser);
    top = joined(top, greater);
    if (threadIdx.x == 0) {
        bounds[2 * blockIdx.x] = low;
        bounds[2 * blockIdx.x + 1] = top;
    }
    for (int k = threadIdx.x; k < wide && blockIdx.x < high; k += blockDim.x) {
        double sum = 0.0;
        for (int column = 0; column < block; column++)
            sum += sums[begin + k * block + column];
        totals[blockIdx.x * wide + k] = sum;
    }
}

#define TILE 4 /* values along an axis that a thread averages at once, which spares it loads */

/* A weight, and a value times it. */
struct Weighed {
    float weight, value;
};

/* Gaussian averages of at(line, place) along an axis, with nothing beyond the border; `then` gets the
 * place that each is for. All threads of the block may share this out. */
template <class At, class Then>
__device__ static void smoothed(
    At at, int lines, int length, const double *gauss, int radius, Then then)
{
    int tiles = (length + TILE - 1) / TILE;
    for (int k = threadIdx.x; k < tiles * lines; k += blockDim.x) {
        int line = k % lines, begin = k / lines * TILE, end = min(begin + TILE + radius, length);
        double weights[TILE] = {0.0}, values[TILE] = {0.0};
        for (int from = max(begin - radius, 0); from < end; from += TILE) {
            double taps[2 * TILE - 1];
            Weighed read[TILE];
            for (int j = 0; j < 2 * TILE - 1; j++) {
                int step = abs(from - begin + j - (TILE - 1));
                taps[j] = step <= radius ? gauss[step] : 0.0;
            }
            for (int j = 0; j < TILE; j++)
                read[j] = from + j < end ? at(line, from + j) : Weighed{0.0f, 0.0f};
            for (int j = 0; j < TILE; j++)
                for (int own = 0; own < TILE; own++) {
                    double tap = taps[j - own + TILE - 1];
                    weights[own] = fma(tap, (double)read[j].weight, weights[own]);
                    values[own] = fma(tap, (double)read[j].value, values[own]);
                }
        }
        for (int own = 0; own < TILE; own++)
            if (begin + own < length)
                then(line, begin + own, Weighed{(float)weights[own], (float)values[own]});
    }
}

/* Maps of blocks while their background is found, with a place more to a row than need be: threads
 * that go down a column then read different banks. */
struct Maps {
    float *means, *weight, *level, *gap; /* (high, wide) */
    Weighed *between;                    /* (wide, high) */
    int high, wide;

    __device__ int across(int row, int column) const { return row * (wide + 1) + column; }
    __device__ int down(int row, int column) const { return column * (high + 1) + row; }
};

/* Average both ways what is kept, and give its level and how far each block is from it; all threads.
 * Where next to nothing was kept (inside a wide hole) the former estimate stands. */
__device__ static void levelled_once(
    const Maps &maps, const double *gauss, int radius, double trusted, bool first)
{
    smoothed(
        [&](int column, int row) {
            int k = maps.across(row, column);
            return Weighed{maps.weight[k], maps.means[k] * maps.weight[k]};
        },
        maps.wide, maps.high, gauss, radius,
        [&](int column, int row, Weighed sum) { maps.between[maps.down(row, column)] = sum; });
    __syncthreads();
    smoothed(
        [&](int row, int column) { return maps.between[maps.down(row, column)]; },
        maps.high, maps.wide, gauss, radius,
        [&](int row, int column, Weighed sum) {
            int k = maps.across(row, column);
            if (first || sum.weight > trusted)
                maps.level[k] = sum.value / sum.weight;
            maps.gap[k] = fabsf(maps.means[k] - maps.level[k]);
        });
    __syncthreads();
}

/* A plane through the blocks' means, about their middle. */
struct Plane {
    double mean, rise, lean;

    __device__ double at(int k, int high, int wide) const
    {
        double y = k / wide - 0.5 * (high - 1), x = k % wide - 0.5 * (wide - 1);
        return mean + y * rise + x * lean;
    }
};

/* The plane of least squares; all threads of a block. */
__device__ static Plane plane_through(const Maps &maps)
{
    int high = maps.high, wide = maps.wide, cells = high * wide;
    Plane plane = {0.0, 0.0, 0.0};
    for (int k = threadIdx.x; k < cells; k += blockDim.x) {
        double y = k / wide - 0.5 * (high - 1), x = k % wide - 0.5 * (wide - 1);
        double mean = maps.means[maps.across(k / wide, k % wide)];
        plane = {plane.mean + mean, plane.rise + y * mean, plane.lean + x * mean};
    }
    /* sums of y * y and x * x over all blocks */
    double down = cells * ((double)high * high - 1.0) / 12.0;
    double across = cells * ((double)wide * wide - 1.0) / 12.0;
    return {summed(plane.mean) / cells, summed(plane.rise) / max(down, 1e-12),
            summed(plane.lean) / max(across, 1e-12)};
}

#define ROOM 3584 /* pairs of floats that fit into a block's memory: frames up to 544 x 544 need them */
#define ROUNDS 3

/* Bounds of the frame and the level of its background in blocks; one block of threads. */
extern "C" __global__ void __launch_bounds__(LEVELLING) flat_level(
    const double *bounds, const double *totals, int number, int block, int high, int wide,
    const double *gauss, int radius, double outlier, double trusted,
    float *scratch, /* (6 (high + 1) (wide + 1)), for more blocks than fit into the block's memory */
    float *level,   /* (high, wide) */
    double *facts)  /* low, high */
{
    __shared__ double fast[ROOM];
    int cells = high * wide, room = (high + 1) * (wide + 1), thread = threadIdx.x;
    float *at = 3 * room <= ROOM ? (float *)fast : scratch;
    Maps maps = {
        at + 2 * room, at + 3 * room, at + 4 * room, at + 5 * room, (Weighed *)at, high, wide};
    double low = bounds[0], top = bounds[1];
    for (int k = thread; k < number; k += blockDim.x) {
        low = lesser(low, bounds[2 * k]);
        top = greater(top, bounds[2 * k + 1]);
    }
    low = joined(low, lesser);
    top = joined(top, greater);
    if (thread == 0) {
        facts[0] = low;
        facts[1] = top;
    }
    double span = top - low, unit = 1.0 / (span == BEYOND ? top : span);
    auto each = [&](auto then) {
        for (int k = thread; k < cells; k += blockDim.x)
            then(k, maps.across(k / wide, k % wide));
    };
    each([&](int k, int place) {
        maps.means[place] = (float)((totals[k] / ((double)block * block) - low) * unit);
        maps.weight[place] = 1.0f;
        maps.level[place] = 0.0f;
    });
    Plane plane = plane_through(maps);
    each([&](int k, int place) { maps.means[place] -= (float)plane.at(k, high, wide); });
    __syncthreads();
    for (int round = 0; round < ROUNDS; round++) {
        levelled_once(maps, gauss, radius, trusted, round == 0);
        if (round + 1 == ROUNDS)
            break;
        auto gap = [&](int k) { return (double)maps.gap[maps.across(k / wide, k % wide)]; };
        double far = outlier * NORMAL_SIGMAS * median(gap, cells);
        each([&](int, int place) { maps.weight[place] = maps.gap[place] <= far ? 1.0f : 0.0f; });
        __syncthreads();
    }
    each([&](int k, int place) { level[k] = maps.level[place] + (float)plane.at(k, high, wide); });
}

/* Blocks on either side of a pixel, and the part that the further one has. */
__device__ static float between_blocks(int place, int block, int blocks, int *lower)
{
    double at = min(max((place + 0.5) / block - 0.5, 0.0), blocks - 1.0);
    *lower = min((int)at, max(blocks - 2, 0));
    return (float)(at - *lower);
}

/* Pixel in units of the frame's span, less its background. */
__device__ static float flattened(
    const char *frame, int kind, int columns, long long place,
    const float *level, int block, int high, int wide, const double *facts)
{
    double low = facts[0], span = facts[1] - low, unit = 1.0 / (span == BEYOND ? facts[1] : span);
    int top, left;
    float v = between_blocks((int)(place / columns), block, high, &top);
    float u = between_blocks((int)(place % columns), block, wide, &left);
    const float *corner = level + top * wide + left;
    int right = wide > 1 ? 1 : 0, down = high > 1 ? wide : 0;
    float upper = corner[0] * (1.0f - u) + corner[right] * u;
    float lower = corner[down] * (1.0f - u) + corner[down + right] * u;
    return (float)((pixel(frame, kind, place) - low) * unit) - (upper * (1.0f - v) + lower * v);
}

/* An even sample of flattened pixels; a thread to a pixel of it. */
extern "C" __global__ void sampled(
    const char *frame, int kind, int rows, int columns,
    const float *level, int block, int high, int wide, const double *facts, int step, int number,
    float *sample) /* (number) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index < number)
        sample[index] = flattened(
            frame, kind, columns, (long long)index * step, level, block, high, wide, facts);
}

/* Quantiles of the sample; a block of threads to each. */
extern "C" __global__ void __launch_bounds__(TOGETHER) quantiles(
    const float *sample, int number, const double *parts, double *found) /* (number), as parts of 1 */
{
    double at = parts[blockIdx.x] * (number - 1);
    int rank = min((int)at, number - 1);
    auto value = [=](int k) { return sample[k]; };
    Two near = two_ranked(value, number, rank, rank + 1 < number);
    if (threadIdx.x == 0)
        found[blockIdx.x] = near.first + (near.second - near.first) * (at - rank);
}

/* Median of the sample and half the width of its middle; one block of threads. */
extern "C" __global__ void __launch_bounds__(TOGETHER) contrast(
    const char *frame, int kind, int rows, int columns,
    const float *level, int block, int high, int wide,
    const double *found, /* (3): quantiles */
    double *facts)       /* low, high, and here: median, half width */
{
    double spread = 0.5 * (found[2] - found[0]);
    if (spread <= 0.0) { /* fewer than a sixth of the pixels differ from the rest: take all */
        long long pixels = (long long)rows * columns;
        double sum = 0.0, squares = 0.0;
        for (long long k = threadIdx.x; k < pixels; k += blockDim.x)
            sum += flattened(frame, kind, columns, k, level, block, high, wide, facts);
        double mean = summed(sum) / pixels;
        for (long long k = threadIdx.x; k < pixels; k += blockDim.x) {
            double gap = flattened(frame, kind, columns, k, level, block, high, wide, facts) - mean;
            squares += gap * gap;
        }
        spread = sqrt(summed(squares) / pixels);
    }
    if (threadIdx.x == 0) {
        facts[2] = found[1];
        facts[3] = spread;
    }
}

/* The conditioned frame; one thread to a pixel. */
extern "C" __global__ void conditioned(
    const char *frame, int kind, int rows, int columns,
    const float *level, int block, int high, int wide, const double *facts,
    float *image) /* (rows, columns) */
{
    long long place = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= (long long)rows * columns)
        return;
    float value = flattened(frame, kind, columns, place, level, block, high, wide, facts);
    image[place] = (value - (float)facts[2]) * (float)(1.0 / facts[3]);
}
