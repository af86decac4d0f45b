/* Block means of an image times the waves of the first Bragg ring.
 *
 * Twins: order._demodulate, and order._covariance before its average. Sums are in double precision.
 */

#define MAPS 8

/* Mean, real and imaginary part with each wave, and product with the pixel below; a thread a block. */
extern "C" __global__ void demodulated(
    const float *image, const float *mean, int columns, int stride, int high, int wide,
    const float *down, const float *across, /* (3, high stride, 2), (3, wide stride, 2): waves */
    float *maps)                            /* (MAPS, high, wide) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= high * wide)
        return;
    int top = index / wide * stride, left = index % wide * stride, last = high * stride - 2;
    double sum[MAPS] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0};
    for (int row = top; row < top + stride; row++) {
        const float *pixels = image + (long long)row * columns;
        /* the last row stands for its own product, too */
        const float *pair = image + (long long)min(row, last) * columns;
        for (int column = left; column < left + stride; column++) {
            double value = pixels[column] - mean[0];
            sum[0] += value;
            for (int k = 0; k < 3; k++) {
                const float *a = down + 2 * (k * high * stride + row);
                const float *b = across + 2 * (k * wide * stride + column);
                sum[1 + 2 * k] += value * ((double)a[0] * b[0] - (double)a[1] * b[1]);
                sum[2 + 2 * k] += value * ((double)a[0] * b[1] + (double)a[1] * b[0]);
            }
            sum[7] += (double)(pair[column] - mean[0]) * (pair[column + columns] - mean[0]);
        }
    }
    for (int k = 0; k < MAPS; k++)
        maps[(long long)k * high * wide + index] = (float)(sum[k] / (stride * stride));
}
