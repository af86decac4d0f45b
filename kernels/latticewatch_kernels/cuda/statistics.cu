/* Mean and standard deviation of an image. Sums are in double precision, in an order that hangs on the
 * number of pixels alone.
 */

#include "selection.cuh"

#define CHUNK 8192 /* pixels to a block */
#define SUMS 2     /* of values, and of their squares */

/* Sums over a part of an image; a block of threads to each. */
extern "C" __global__ void __launch_bounds__(TOGETHER) part_sums(
    const float *image, int size, double *sums) /* (parts, SUMS) */
{
    int first = blockIdx.x * CHUNK, end = min(first + CHUNK, size);
    double sum = 0.0, squares = 0.0;
    for (int k = first + threadIdx.x; k < end; k += blockDim.x) {
        double value = image[k];
        sum += value;
        squares += value * value;
    }
    sum = summed(sum);
    squares = summed(squares);
    if (threadIdx.x == 0) {
        sums[SUMS * blockIdx.x] = sum;
        sums[SUMS * blockIdx.x + 1] = squares;
    }
}

/* Mean and standard deviation by the sums over all parts; one block. */
extern "C" __global__ void __launch_bounds__(TOGETHER) mean_and_spread(
    const double *sums, int parts, int size, double *told) /* (2) */
{
    double sum = 0.0, squares = 0.0;
    for (int k = threadIdx.x; k < parts; k += blockDim.x) {
        sum += sums[SUMS * k];
        squares += sums[SUMS * k + 1];
    }
    sum = summed(sum);
    squares = summed(squares);
    if (threadIdx.x == 0) {
        double mean = sum / size;
        told[0] = mean;
        told[1] = sqrt(max(squares / size - mean * mean, 0.0));
    }
}
