/* A frame with its background flattened and its contrast set: read twice, written once.
 *
 * Twin: conditioning.condition. What it does in single precision is done in double here and rounded
 * where it is kept.
 */

#include "selection.cuh"

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

/* Least (sign 1) or, of the negatives, greatest (sign -1) of all values; NaN where there is one. */
__device__ static double extreme(const double *values, int number, int sign)
{
    __shared__ double parts[TOGETHER];
    int thread = threadIdx.x;
    double part = sign * values[min(thread, number - 1)];
    for (int k = thread; k < number; k += blockDim.x)
        part = lesser(part, sign * values[k]);
    __syncthreads();
    parts[thread] = part;
    __syncthreads();
    for (int width = blockDim.x / 2; width > 0; width /= 2) {
        if (thread < width)
            parts[thread] = lesser(parts[thread], parts[thread + width]);
        __syncthreads();
    }
    return sign * parts[0];
}

/* Gaussian average of values times weights (or of weights) with nothing beyond the border. */
__device__ static void smoothed(
    const float *values, const float *weights, int high, int wide,
    const double *gauss, int radius, float *between, float *result)
{
    int number = high * wide;
    __syncthreads();
    for (int k = threadIdx.x; k < number; k += blockDim.x) {
        double sum = 0.0;
        for (int step = max(-radius, -(k / wide)); step <= min(radius, high - 1 - k / wide); step++) {
            int other = k + step * wide;
            float value = values ? values[other] * weights[other] : weights[other];
            sum += gauss[abs(step)] * value;
        }
        between[k] = (float)sum;
    }
    __syncthreads();
    for (int k = threadIdx.x; k < number; k += blockDim.x) {
        double sum = 0.0;
        for (int step = max(-radius, -(k % wide)); step <= min(radius, wide - 1 - k % wide); step++)
            sum += gauss[abs(step)] * between[k + step];
        result[k] = (float)sum;
    }
    __syncthreads();
}

/* Sums over blocks: of their means, and of these times the place along either axis. */
struct Plane {
    double mean, rise, lean;
};

/* Bounds of the frame and the level of its background in blocks; one block of threads. */
extern "C" __global__ void __launch_bounds__(TOGETHER) flat_level(
    const double *sums, const double *least, const double *most, int number, int columns,
    int block, int high, int wide, int flatten, const double *gauss, int radius,
    double outlier, double trusted,
    float *scratch, /* (6, high, wide) */
    float *level,   /* (high, wide) */
    double *facts)  /* low, high */
{
    int cells = high * wide, thread = threadIdx.x;
    double low = extreme(least, number * columns, 1), top = extreme(most, number * columns, -1);
    double span = top - low, unit = 1.0 / (span == BEYOND ? top : span);
    float *means = scratch, *gap = means + cells, *weight = gap + cells;
    float *between = weight + cells, *total = between + cells, *kept = total + cells;
    if (thread == 0) {
        facts[0] = low;
        facts[1] = top;
    }
    Plane plane = {0.0, 0.0, 0.0};
    for (int k = thread; k < cells; k += blockDim.x) {
        double sum = 0.0;
        for (int column = 0; column < block; column++)
            sum += sums[(long long)(k / wide) * columns + k % wide * block + column];
        double y = k / wide - 0.5 * (high - 1), x = k % wide - 0.5 * (wide - 1);
        means[k] = (float)((sum / ((double)block * block) - low) * unit);
        weight[k] = 1.0f;
        level[k] = 0.0f;
        plane = {plane.mean + means[k], plane.rise + y * means[k], plane.lean + x * means[k]};
    }
    if (!flatten)
        return;
    plane = {summed(plane.mean), summed(plane.rise), summed(plane.lean)};
    /* sums of y * y and x * x over all blocks */
    double down = cells * ((double)high * high - 1.0) / 12.0;
    double across = cells * ((double)wide * wide - 1.0) / 12.0;
    double mean = plane.mean / cells;
    double rise = plane.rise / max(down, 1e-12), lean = plane.lean / max(across, 1e-12);
    for (int k = thread; k < cells; k += blockDim.x) {
        double y = k / wide - 0.5 * (high - 1), x = k % wide - 0.5 * (wide - 1);
        means[k] -= (float)(mean + y * rise + x * lean);
    }
    for (int round = 0; round < 3; round++) {
        smoothed((const float *)0, weight, high, wide, gauss, radius, between, total);
        smoothed(means, weight, high, wide, gauss, radius, between, kept);
        for (int k = thread; k < cells; k += blockDim.x) {
            /* where next to nothing was kept (inside a wide hole) the former estimate stands */
            if (round == 0 || total[k] > trusted)
                level[k] = kept[k] / total[k];
            gap[k] = fabsf(means[k] - level[k]);
        }
        __syncthreads();
        if (round == 2)
            break;
        double far = outlier * NORMAL_SIGMAS * median([=](int k) { return (double)gap[k]; }, cells, 29);
        for (int k = thread; k < cells; k += blockDim.x)
            weight[k] = gap[k] <= far ? 1.0f : 0.0f;
    }
    for (int k = thread; k < cells; k += blockDim.x) {
        double y = k / wide - 0.5 * (high - 1), x = k % wide - 0.5 * (wide - 1);
        level[k] += (float)(mean + y * rise + x * lean);
    }
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
    auto value = [=](int k) { return (double)sample[k]; };
    Two near = two_ranked(value, number, rank, rank + 1 < number, 29);
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
