/* A frame less its background, and its contrast set by an even sample of that.
 *
 * Twin: conditioning.condition. What it does in single precision is done in double here and rounded
 * where it is kept.
 */

#include "between.cuh"
#include "pixels.cuh"
#include "selection.cuh"

/* Level of a background in blocks, and the units that a frame is told in. */
struct Background {
    const float *level; /* (high, wide) */
    Cells down, across;
    double low, unit;

    /* A pixel of the frame in units of its span, less the background. */
    __device__ float flattened(double value, const Corner &corner) const
    {
        return (float)((value - low) * unit) - corner.of(level);
    }
};

__device__ static Background background_of(
    const float *level, int block, int high, int wide, const double *facts)
{
    double low = facts[0], span = facts[1] - low, unit = 1.0 / (span == BEYOND ? facts[1] : span);
    return {level, cells_of(block, high), cells_of(block, wide), low, unit};
}

/* Pixel of a frame less the background. */
__device__ static float flattened(
    const char *frame, int kind, int columns, long long place, const Background &background)
{
    Between row = background.down.at((int)(place / columns));
    Between column = background.across.at((int)(place % columns));
    Corner corner = corner_of(row, column, background.down.number, background.across.number);
    return background.flattened(pixel(frame, kind, place), corner);
}

/* An even sample of flattened pixels; a thread to a pixel of it. */
extern "C" __global__ void sampled(
    const char *frame, int kind, int rows, int columns,
    const float *level, int block, int high, int wide, const double *facts, int step, int number,
    float *sample) /* (number) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= number)
        return;
    Background background = background_of(level, block, high, wide, facts);
    sample[index] = flattened(frame, kind, columns, (long long)index * step, background);
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
        Background background = background_of(level, block, high, wide, facts);
        double sum = 0.0, squares = 0.0;
        for (long long k = threadIdx.x; k < pixels; k += blockDim.x)
            sum += flattened(frame, kind, columns, k, background);
        double mean = summed(sum) / pixels;
        for (long long k = threadIdx.x; k < pixels; k += blockDim.x) {
            double gap = flattened(frame, kind, columns, k, background) - mean;
            squares += gap * gap;
        }
        spread = sqrt(summed(squares) / pixels);
    }
    if (threadIdx.x == 0) {
        facts[2] = found[1];
        facts[3] = spread;
    }
}

/* The conditioned frame; a thread to neighbouring pixels. */
extern "C" __global__ void conditioned(
    const char *frame, int kind, int rows, int columns,
    const float *level, int block, int high, int wide, const double *facts,
    float *image) /* (rows, columns) */
{
    long long first = first_neighbour();
    int here = neighbours_here(first, (long long)rows * columns);
    if (here <= 0)
        return;
    Background background = background_of(level, block, high, wide, facts);
    Neighbours<double> read = pixels(frame, kind, first, here);
    Neighbours<float> made;
    Corners corners = corners_of(
        pixel_at(first, columns), columns, background.down, background.across);
    float middle = (float)facts[2], scale = (float)(1.0 / facts[3]);
    for (int j = 0; j < NEIGHBOURS; j++)
        made.of[j] = (background.flattened(read.of[j], corners.of[j]) - middle) * scale;
    put(image + first, here, made);
}
