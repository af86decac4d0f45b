/* Weights that bring a frame to another scale. Twin: patches._resampling. */

#include "facts.cuh"

#define MOST_TAPS 256 /* pixels that one pixel of the result is told from: shrinking by 60 and less */

/* Cubic convolution (Keys, IEEE Trans. ASSP 29, 1153 (1981)). */
__device__ static double cubic_weight(double distance)
{
    double d = fabs(distance);
    if (d <= 1.0)
        return 1.5 * d * d * d - 2.5 * d * d + 1.0;
    return d < 2.0 ? -0.5 * d * d * d + 2.5 * d * d - 4.0 * d + 2.0 : 0.0;
}

/* A thread to a row of the weights: one pixel of the result. */
extern "C" __global__ void resampling(
    const double *facts, int wanted, int size,
    float *weights) /* (wanted, size), zeros */
{
    int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= wanted)
        return;
    double factor = facts[FACT_FACTOR];
    if (!(factor > 1e-3 && factor < 1e3))
        factor = 1.0;
    double widen = max(1.0, 1.0 / factor), centre = (row + 0.5) / factor - 0.5, total = 0.0;
    int reach = min((int)ceil(2.0 * widen), MOST_TAPS / 2);
    int base = (int)floor(centre);
    for (int k = -reach; k <= reach; k++)
        total += cubic_weight((base + k - centre) / widen);
    for (int k = -reach; k <= reach; k++) {
        int column = min(max(base + k, 0), size - 1);
        float weight = (float)(cubic_weight((base + k - centre) / widen) / total);
        weights[(long long)row * size + column] += weight;
    }
}
