/* Values of an image between its pixels; one thread to a sample.
 *
 * Twins: sampling.bilinear, sampling.cubic, patches.lattice_patches, columns.intensity_beside and
 * segmentation.Segmentation.logit_at. The same operations in the same order and precision (but for
 * the logarithms of the last), so that results are the same to the last bit where multiply and add
 * are not contracted. Beyond the frame its edge value is repeated.
 */

#include "odds.cuh"

extern "C" __global__ void bilinear(
    const float *image, int rows, int columns,
    const float *x, const float *y, int count, /* (count): pixels */
    float *values)                             /* (count) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index < count)
        values[index] = bilinear_at(image, rows, columns, x[index], y[index]);
}

/* Logits of a heat map between its cells, bilinear. */
extern "C" __global__ void logits(
    const float *heat, int rows, int columns, float surest,
    const float *x, const float *y, int count, /* (count): cells */
    float *values)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index < count)
        values[index] = logit_at(heat, rows, columns, surest, x[index], y[index]);
}

extern "C" __global__ void lattice_patches(
    const float *image, int rows, int columns,
    const double *points,  /* (count, 2): x, y in pixels */
    const int *turns,      /* (count): which offsets a point takes */
    const double *offsets, /* (turns, samples, 2): x, y in pixels */
    int count, int samples,
    float *patches)        /* (count, samples) */
{
    long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= (long long)count * samples)
        return;
    int point = (int)(index / samples), sample = (int)(index % samples);
    const double *offset = offsets + 2 * ((long long)turns[point] * samples + sample);
    float x = (float)(points[2 * point] + offset[0]);
    float y = (float)(points[2 * point + 1] + offset[1]);
    patches[index] = bilinear_at(image, rows, columns, x, y);
}

extern "C" __global__ void cubic(
    const float *image, int rows, int columns,
    const float *x, const float *y, int count, /* (count): pixels */
    float *values)                             /* (count) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index < count)
        values[index] = cubic_at(image, rows, columns, x[index], y[index]);
}

/* Intensity of columns: a site's value less what its six nearest add to it. */
extern "C" __global__ void site_intensity(
    const float *image, int rows, int columns,
    const float *x, const float *y,           /* (count, 7): pixels, the site first */
    const double *host, const double *offset, /* (count) */
    double unit, double crosstalk, int count,
    float *values)                            /* (count) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= count)
        return;
    double own = 0.0, around = 0.0;
    for (int k = 0; k < 7; k++) {
        int at = 7 * index + k;
        double value = (double)cubic_at(image, rows, columns, x[at], y[at]) * unit;
        if (k == 0)
            own = value;
        else
            around += value;
    }
    double deviation = (own - crosstalk * around) / (1.0 - 6.0 * crosstalk * crosstalk);
    values[index] = (float)(host[index] + deviation - offset[index]);
}
