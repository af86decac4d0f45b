/* Local order of a frame by its own facts. Twin: order.local_order, from the waves to the maps.
 *
 * Levels are found in double precision and medians are exact; waves and maps are in single precision,
 * as the twin's. What is averaged lies as demodulated: mean, real and imaginary part with each wave, product.
 */

#include "facts.cuh"
#include "selection.cuh"

#define MAPS 8   /* mean, real and imaginary part with each wave, and the product */
#define LEVELS 9 /* crystalline amplitude, crystal's mean, sums of the waves, and what lacks order */
#define AT_ONCE 4 /* cells, or rows of pixels, that a thread has under way */
#define TAU 6.283185307179586

struct alignas(8) Complex {
    float real, imaginary;
};

/* Component of a vector of the first ring of reciprocal space, from the inverse of the vectors. */
__device__ static inline double ring_at(const double *facts, int wave, int axis)
{
    const double *a = facts + FACT_VECTORS, *b = a + 2;
    double area = a[0] * b[1] - a[1] * b[0];
    double first = axis ? -b[0] / area : b[1] / area, second = axis ? a[0] / area : -a[1] / area;
    return wave == 0 ? first : wave == 1 ? second : second - first;
}

/* Waves of the first ring along y and x; a thread to a place of a wave. */
extern "C" __global__ void ring_waves(
    const double *facts, int rows, int columns,
    float *down, float *across) /* (3, rows, 2), (3, columns, 2) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= 3 * (rows + columns))
        return;
    bool along = index < 3 * rows;
    int place = along ? index : index - 3 * rows, size = along ? rows : columns;
    double angle = -TAU * ring_at(facts, place / size, along) * (place % size);
    float *wave = (along ? down : across) + 2 * place;
    wave[0] = (float)cos(angle);
    wave[1] = (float)sin(angle);
}

__device__ static inline float amplitude_at(const float *waves, int cells, int place)
{
    float sum = 0.0f;
    for (int wave = 0; wave < 3; wave++) {
        float real = waves[(1 + 2 * wave) * cells + place];
        float imaginary = waves[(2 + 2 * wave) * cells + place];
        sum += real * real + imaginary * imaginary;
    }
    return sqrtf(sum);
}

/* The frame's crystalline amplitude and mean, the waves' sums, which phases refer to, and how many
 * cells have less than `less` of that amplitude.
 *
 * A block of threads to each sum, and the first for the others; amplitudes are left as measured.
 */
extern "C" __global__ void __launch_bounds__(TOGETHER) order_levels(
    double *facts, const float *waves, int cells, double quantile, double crystalline, double less,
    float *amplitudes, double *levels) /* (cells), (LEVELS) */
{
    if (blockIdx.x > 0) {
        const float *part = waves + (long long)blockIdx.x * cells;
        double sum = 0.0;
        for (int k = threadIdx.x; k < cells; k += blockDim.x)
            sum += part[k];
        sum = summed(sum);
        if (threadIdx.x == 0)
            levels[1 + blockIdx.x] = sum;
        return;
    }
    /* some at a time, so that a thread waits once for all their waves */
    for (int first = threadIdx.x; first < cells; first += AT_ONCE * blockDim.x) {
        float own[AT_ONCE];
        for (int j = 0; j < AT_ONCE; j++)
            own[j] = amplitude_at(waves, cells, min(first + j * (int)blockDim.x, cells - 1));
        for (int j = 0; j < AT_ONCE && first + j * (int)blockDim.x < cells; j++)
            amplitudes[first + j * blockDim.x] = own[j];
    }
    __syncthreads();
    auto amplitude = [=](int k) { return amplitudes[k]; };
    float mean = (float)facts[FACT_STATISTICS];
    double place = quantile * (cells - 1);
    int below = min(max((int)floor(place), 0), cells - 1), known = 0, lacking = 0;
    Two near = two_ranked(amplitude, cells, below, below + 1 < cells);
    float full = (float)(near.first + (near.second - near.first) * (place - below));
    auto level = [=](int k) {
        bool sound = amplitudes[k] / full > (float)crystalline;
        return sound ? waves[k] + mean : (float)BEYOND;
    };
    for (int k = threadIdx.x; k < cells; k += blockDim.x) {
        known += level(k) < (float)BEYOND;
        lacking += amplitudes[k] / full < (float)less;
    }
    known = summed(known);
    lacking = summed(lacking);
    double middle = known > 0 ? median_of(level, cells, known) : 0.0;
    if (threadIdx.x == 0) {
        levels[0] = full;
        levels[1] = (float)middle;
        levels[LEVELS - 1] = lacking;
        facts[FACT_HOLES] = facts[FACT_MISSING] = facts[FACT_MISSING + 1] = 0.0;
    }
}

/* Maps of amplitude, level, mean and displacement, and which cells are crystal and hole; a thread to
 * a cell. */
extern "C" __global__ void order_maps(
    double *facts, const float *waves, int cells, const double *levels,
    double crystalline, double hole_level,
    float *maps, char *crystal, char *hole) /* (5, cells), (cells); amplitudes come as measured */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= cells)
        return;
    float amplitude = maps[index] / (float)levels[0];
    float local = waves[index] + (float)facts[FACT_STATISTICS];
    float level = (local - (float)levels[1]) / (float)facts[FACT_ABOVE_EMPTY] + 1.0f;
    bool sound = amplitude > (float)crystalline;
    bool empty = !sound && level < (float)hole_level;
    maps[index] = amplitude;
    maps[cells + index] = level;
    maps[2 * cells + index] = local;
    crystal[index] = sound;
    hole[index] = empty;
    if (empty)
        atomicAdd(&facts[FACT_HOLES], 1.0); /* a whole number, whatever the order */
    /* least squares of phase = -2 pi g.u over the three waves */
    double normal[3] = {0.0, 0.0, 0.0}, pull[2] = {0.0, 0.0};
    for (int wave = 0; wave < 3; wave++) {
        double real = waves[(1 + 2 * wave) * cells + index];
        double imaginary = waves[(2 + 2 * wave) * cells + index];
        const double *sum = levels + 2 + 2 * wave;
        /* times the conjugate of the sum */
        double phase = atan2(imaginary * sum[0] - real * sum[1], real * sum[0] + imaginary * sum[1]);
        double gx = -TAU * ring_at(facts, wave, 0), gy = -TAU * ring_at(facts, wave, 1);
        normal[0] += gx * gx;
        normal[1] += gx * gy;
        normal[2] += gy * gy;
        pull[0] += gx * phase;
        pull[1] += gy * phase;
    }
    double area = normal[0] * normal[2] - normal[1] * normal[1];
    maps[3 * cells + index] = (float)((normal[2] * pull[0] - normal[1] * pull[1]) / area);
    maps[4 * cells + index] = (float)((normal[0] * pull[1] - normal[1] * pull[0]) / area);
}

/* Mean, real and imaginary part with each wave, and product with the pixel below; a thread a block.
 *
 * Each column of a block is summed with the waves down, and what comes of it with those across: half
 * the products of doing so pixel by pixel. In single precision as the twin, since blocks are small.
 */
extern "C" __global__ void demodulated(
    const double *facts, const float *image, int columns, int stride, int high, int wide,
    const float *down, const float *across, /* (3, high stride, 2), (3, wide stride, 2): waves */
    float *maps)                            /* (MAPS, high, wide) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= high * wide)
        return;
    int top = index / wide * stride, left = index % wide * stride, last = high * stride - 2;
    float mean = (float)facts[FACT_STATISTICS];
    float sum[MAPS] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    for (int column = left; column < left + stride; column++) {
        const float *pixels = image + column;
        float waves[6] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
        for (int first = top; first < top + stride; first += AT_ONCE) {
            float value[AT_ONCE], beside[AT_ONCE];
            for (int j = 0; j < AT_ONCE; j++) {
                int row = min(first + j, top + stride - 1);
                bool counts = first + j < top + stride;
                float pixel = pixels[row * columns];
                value[j] = counts ? pixel - mean : 0.0f;
                /* the last row stands for its own product, too: that of the one above with it */
                beside[j] = pixels[(row <= last ? row + 1 : last) * columns] - mean;
            }
            for (int j = 0; j < AT_ONCE; j++) {
                int row = min(first + j, top + stride - 1);
                sum[0] += value[j];
                sum[7] += value[j] * beside[j];
                for (int k = 0; k < 3; k++) {
                    Complex a = ((const Complex *)down)[k * high * stride + row];
                    waves[2 * k] = fmaf(value[j], a.real, waves[2 * k]);
                    waves[2 * k + 1] = fmaf(value[j], a.imaginary, waves[2 * k + 1]);
                }
            }
        }
        for (int k = 0; k < 3; k++) {
            Complex b = ((const Complex *)across)[k * wide * stride + column];
            sum[1 + 2 * k] += waves[2 * k] * b.real - waves[2 * k + 1] * b.imaginary;
            sum[2 + 2 * k] += waves[2 * k] * b.imaginary + waves[2 * k + 1] * b.real;
        }
    }
    float part = 1.0f / (stride * stride);
    for (int k = 0; k < MAPS; k++)
        maps[k * high * wide + index] = sum[k] * part;
}
