/* Noise over intensity by the pixels of reference columns. Twin: noise.fit_noise_line.
 *
 * Small frames have fewer columns than are asked for, some of which are then taken twice: pixels that
 * are equally bright are told apart by their number, so that classes are as large as the twin's.
 */

#include "selection.cuh"

#define NORMAL_SIGMAS 1.4826
#define CLASSES 8
#define SINGLE 29 /* bits of a double that are 0 where it comes from single precision */
#define SPARE 8   /* of these, that no number of a pixel needs */
#define HELD 4096 /* pixels of a class that a block has room for */
#define AT_ONCE 4 /* pixels that a thread has under way before it writes what came of them */

/* Intensity of a pixel with its number below, which no two share; infinite where it is left out. */
__device__ static inline double level_of(const float *periodic, const char *left_out, int k)
{
    double level = periodic[k]; /* whether it is left out or not, so that neither load waits */
    long long numbered = __double_as_longlong(level) | (long long)k << SPARE;
    return left_out[k] ? BEYOND : __longlong_as_double(numbered);
}

__device__ static inline double without_number(double level)
{
    long long number = (1ll << SINGLE) - 1;
    return level < BEYOND ? __longlong_as_double(__double_as_longlong(level) & ~number) : level;
}

__device__ static int pixels_kept(const char *left_out, int number)
{
    int kept = 0;
    for (int k = threadIdx.x; k < number; k += blockDim.x)
        kept += !left_out[k];
    return summed(kept);
}

/* Where class k of so many pixels by rising intensity begins. */
__device__ static inline int begins(int k, int number)
{
    return k * (number / CLASSES) + min(k, number % CLASSES);
}

/* Least intensity of each class, and the two about its middle; a block to the one and one to the
 * others. */
extern "C" __global__ void __launch_bounds__(TOGETHER) column_classes(
    const float *periodic, const char *left_out, int number,
    double *levels) /* (CLASSES, 3); the least with its number, infinite where no pixel was kept */
{
    int kept = pixels_kept(left_out, number), k = blockIdx.x / 2;
    int first = begins(k, kept), size = begins(k + 1, kept) - first;
    bool middle = blockIdx.x % 2;
    int rank = min(first + (middle ? (size - 1) / 2 : 0), number - 1);
    int further = middle && size > 0 && size % 2 == 0 && rank + 1 < number;
    Two found = two_ranked(
        [=](int pixel) { return level_of(periodic, left_out, pixel); }, number, rank, further);
    if (threadIdx.x != 0)
        return;
    if (!middle) {
        levels[3 * k] = found.first;
    } else {
        levels[3 * k + 1] = without_number(found.first);
        levels[3 * k + 2] = without_number(found.second);
    }
}

/* Robust variance of a residual in each class; a block to a class.
 *
 * The block has the values of its class at hand, in any order, where there is room for them. */
extern "C" __global__ void __launch_bounds__(TOGETHER) column_variances(
    const float *residual, const float *periodic, const char *left_out, int number,
    const double *levels, double *variances) /* (CLASSES, 3), (CLASSES) */
{
    __shared__ float held[HELD];
    __shared__ int count;
    int k = blockIdx.x;
    double low = levels[3 * k], high = k + 1 < CLASSES ? levels[3 * k + 3] : BEYOND, spread = 0.0;
    auto at = [=](int pixel) {
        double level = level_of(periodic, left_out, pixel);
        float size = fabsf(residual[pixel]);
        return level >= low && level < high ? size : (float)BEYOND;
    };
    if (threadIdx.x == 0)
        count = 0;
    __syncthreads();
    for (int begin = threadIdx.x; begin < number; begin += AT_ONCE * blockDim.x) {
        float size[AT_ONCE];
        for (int j = 0; j < AT_ONCE; j++)
            size[j] = at(min(begin + j * (int)blockDim.x, number - 1));
        for (int j = 0; j < AT_ONCE; j++)
            if (begin + j * (int)blockDim.x < number && size[j] < (float)BEYOND) {
                int place = atomicAdd(&count, 1);
                if (place < HELD)
                    held[place] = size[j];
            }
    }
    __syncthreads();
    int size = count;
    bool fits = size <= HELD;
    auto chosen = [=](int own) { return fits ? held[own] : at(own); };
    if (size > 0)
        spread = NORMAL_SIGMAS * median_of(chosen, fits ? size : number, size);
    if (threadIdx.x == 0)
        variances[k] = spread * spread;
}
