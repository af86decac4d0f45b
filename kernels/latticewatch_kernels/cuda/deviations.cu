/* What columns differ by: the frame around them, and those that stand out of their sublattice.
 *
 * Twins in deviations: SitesInView, _weights and _local_mean. Sums are in double precision.
 */

#include "cells.cuh"
#include "selection.cuh"

#define NORMAL_SIGMAS 1.4826

/* Height of each column less its sublattice's median where it stands out, else 0; a block to each. */
extern "C" __global__ void __launch_bounds__(TOGETHER) strong_columns(
    const float *squares, const float *responses, /* (end): one sublattice after the other */
    int second, int third, int end, double sigmas,
    double *heights) /* (end) */
{
    int starts[4] = {0, second, third, end};
    int begin = starts[blockIdx.x], number = starts[blockIdx.x + 1] - begin;
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

/* One over each pixel's variance, 0 in holes; one thread to a pixel. */
extern "C" __global__ void inverse_variance(
    const float *periodic, const char *hole, int rows, int columns,
    float slope, float base, float least, float *weight)
{
    long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (index < (long long)rows * columns)
        weight[index] = hole[index] ? 0.0f : 1.0f / fmaxf(periodic[index] * slope + base, least);
}

/* Means of whole blocks of an image, times weights where it is weighted; one thread to a block. */
extern "C" __global__ void blocked_means(
    const float *image, const float *weight, int weighted, int columns, int block, int high, int wide,
    float *means) /* (high, wide) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= high * wide)
        return;
    double sum = 0.0;
    for (int row = 0; row < block; row++) {
        long long first = (long long)(index / wide * block + row) * columns + index % wide * block;
        for (long long place = first; place < first + block; place++)
            sum += weighted ? image[place] * weight[place] : image[place];
    }
    means[index] = (float)(sum / (block * block));
}

/* An image less a mean in cells, times weights where it is weighted; one thread to a pixel. */
extern "C" __global__ void less_mean(
    const float *image, const float *weight, int weighted, int rows, int columns,
    const float *means, int high, int wide, int stride, float *result)
{
    long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= (long long)rows * columns)
        return;
    int row = (int)(index / columns), column = (int)(index % columns);
    float value = image[index] - enlarged(means, high, wide, stride, row, column);
    result[index] = weighted ? value * weight[index] : value;
}
