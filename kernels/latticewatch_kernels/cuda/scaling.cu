/* A frame is brought to another scale, one axis after the other. Twin: patches.rescale. */

#include "facts.cuh"

/* How one axis is resampled, by the facts. */
struct Resampling {
    double factor, widen;
    int reach; /* pixels to either side that one pixel of the result is told from */
};

__device__ static Resampling resampling_of(const double *facts, int most)
{
    double factor = facts[FACT_FACTOR];
    if (!(factor > 1e-3 && factor < 1e3))
        factor = 1.0;
    double widen = max(1.0, 1.0 / factor);
    return {factor, widen, min((int)ceil(2.0 * widen), most)};
}

/* Place of a pixel of the result in the frame. */
__device__ static double centre_of(int place, const Resampling &how)
{
    return (place + 0.5) / how.factor - 0.5;
}

/* Cubic convolution (Keys, IEEE Trans. ASSP 29, 1153 (1981)). */
__device__ static double cubic_weight(double distance)
{
    double d = fabs(distance);
    if (d <= 1.0)
        return 1.5 * d * d * d - 2.5 * d * d + 1.0;
    return d < 2.0 ? -0.5 * d * d * d + 2.5 * d * d - 4.0 * d + 2.0 : 0.0;
}

/* A thread to a pixel of the result along the axis. */
extern "C" __global__ void resampling(
    const double *facts, int wanted, int most,
    float *weights) /* (wanted, 2 most + 1) */
{
    int place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= wanted)
        return;
    Resampling how = resampling_of(facts, most);
    double centre = centre_of(place, how), total = 0.0;
    int base = (int)floor(centre);
    for (int k = -how.reach; k <= how.reach; k++)
        total += cubic_weight((base + k - centre) / how.widen);
    float *row = weights + (long long)place * (2 * most + 1) + most;
    for (int k = -how.reach; k <= how.reach; k++)
        row[k] = (float)(cubic_weight((base + k - centre) / how.widen) / total);
}

/* A thread to a pixel of the result. The axis is the first of (size, inner), or the last of
 * (outer, size) where inner is 1; what lies beyond the frame is as its border. */
extern "C" __global__ void resampled(
    const double *facts, const float *weights, const float *image, int wanted, int most, int size,
    int inner, int number,
    float *result)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= number)
        return;
    Resampling how = resampling_of(facts, most);
    int within = index % inner, place = index / inner % wanted, outer = index / inner / wanted;
    int base = (int)floor(centre_of(place, how));
    const float *row = weights + (long long)place * (2 * most + 1) + most;
    const float *line = image + (long long)outer * size * inner + within;
    double sum = 0.0;
    for (int k = -how.reach; k <= how.reach; k++) {
        int pixel = min(max(base + k, 0), size - 1);
        sum += (double)row[k] * line[(long long)pixel * inner];
    }
    result[index] = (float)sum;
}
