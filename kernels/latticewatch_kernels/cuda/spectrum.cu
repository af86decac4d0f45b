/* Power of a frame's half Fourier plane, and the noise in it.
 *
 * Twins: spectrum.hann_power, spectrum.noise_power. Rows are shifted so that frequency 0 along y is
 * in the middle row; logarithms and sums are in double precision.
 */

#include "neighbours.cuh"
#include "selection.cuh"

/* Bins to a block of threads that power is found by. */
#define CHUNK 4096

/* Partial sums to a ring: so many threads share its bins. */
#define LANES 32

/* Values that a thread reads before it looks at the first. */
#define AT_ONCE 8

#define NONE __longlong_as_double(0x7ff8000000000000ll) /* NaN: no value */

/* Euler's constant: an exponential variable's mean logarithm lies as much below that of its mean. */
#define EULER 0.57721566490153286061

/* The image less its mean, times a Hann window along each axis; a thread to neighbouring pixels. */
extern "C" __global__ void windowed(
    const float *image, const double *mean, /* (rows, columns), one */
    const float *down, const float *across, int rows, int columns, float *result)
{
    long long first = first_neighbour();
    int here = neighbours_here(first, (long long)rows * columns);
    if (here <= 0)
        return;
    Pixel at = pixel_at(first, columns);
    Neighbours<float> pixels = neighbours(image + first, here);
    float level = (float)mean[0];
    for (int j = 0; j < NEIGHBOURS; j++, at.next(columns))
        pixels.of[j] = (pixels.of[j] - level) * down[min(at.row, rows - 1)] * across[at.column];
    put(result + first, here, pixels);
}

/* Power with its rows shifted, and the greatest of each part; a block of threads to a part. */
extern "C" __global__ void __launch_bounds__(TOGETHER) shifted_power(
    const float *spectrum, int rows, int columns, /* (rows, columns, 2): real and imaginary part */
    float *power, float *greatest)                /* (rows, columns), (parts) */
{
    int first = blockIdx.x * CHUNK, end = min(first + CHUNK, rows * columns);
    float most = 0.0f;
    for (int index = first + threadIdx.x; index < end; index += blockDim.x) {
        int row = index / columns, from = row - rows / 2;
        long long place = (long long)(from < 0 ? from + rows : from) * columns + index % columns;
        Bin bin = ((const Bin *)spectrum)[place];
        power[index] = bin.real * bin.real + bin.imaginary * bin.imaginary;
        most = fmaxf(most, power[index]);
    }
    most = joined(most, [](float one, float other) { return fmaxf(one, other); });
    if (threadIdx.x == 0)
        greatest[blockIdx.x] = most;
}

/* What keeps the logarithm of no power finite, by the greatest of all parts. */
__device__ static double floor_of(const float *greatest, int parts)
{
    float most = 0.0f;
    for (int first = 0; first < parts; first += AT_ONCE)
        for (int j = 0; j < AT_ONCE; j++)
            most = fmaxf(most, greatest[min(first + j, parts - 1)]);
    return 1e-12 * most + 1e-30;
}

/* Mean logarithms of power over rings in parts, then along the two axes; one thread to a value. */
extern "C" __global__ void profiles(
    const float *power, const float *greatest, int parts, int rows, int columns,
    const int *bins, const int *starts, int rings, /* bins by ring; (rings + 1) where each begins */
    double *ring_parts, double *along)             /* (rings, LANES), (columns + rows) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x, middle = rows / 2;
    double least = floor_of(greatest, parts);
    if (index < rings * LANES) {
        int ring = index / LANES;
        int end = starts[ring + 1];
        double sum = 0.0;
        for (int first = starts[ring] + index % LANES; first < end; first += AT_ONCE * LANES) {
            float read[AT_ONCE];
            for (int j = 0; j < AT_ONCE; j++)
                read[j] = power[bins[min(first + j * LANES, end - 1)]];
            for (int j = 0; j < AT_ONCE; j++)
                sum += first + j * LANES < end ? log(read[j] + least) : 0.0;
        }
        ring_parts[index] = sum / max(starts[ring + 1] - starts[ring], 1);
        return;
    }
    index -= rings * LANES;
    if (index >= columns + rows)
        return;
    double sum = 0.0;
    if (index < columns) {
        int first = max(middle - 1, 0), last = min(middle + 2, rows);
        for (int row = first; row < last; row++)
            sum += log(power[row * columns + index] + least);
        along[index] = sum / (last - first);
    } else {
        int number = min(2, columns);
        for (int column = 0; column < number; column++)
            sum += log(power[(index - columns) * columns + column] + least);
        along[index] = sum / number;
    }
}

/* Mean logarithm of each ring; one thread to each. */
extern "C" __global__ void ring_means(const double *ring_parts, int rings, double *mean_log)
{
    int ring = blockIdx.x * blockDim.x + threadIdx.x;
    if (ring >= rings)
        return;
    double sum = 0.0;
    for (int lane = 0; lane < LANES; lane++)
        sum += ring_parts[LANES * ring + lane];
    mean_log[ring] = sum;
}

/* Noise power of the profiles: their running medians, set to the mean; their ends are repeated.
 *
 * A thread to each value in each window. The one whose value is the median writes it; of a window that
 * holds what is no number the first of all writes that.
 */
extern "C" __global__ void noise_profiles(
    const double *mean_log, int rings, int columns, int rows, /* one after the other */
    int ring_half, int column_half, int row_half, int longest, /* windows, and the longest of all */
    float *noise)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x, place = index / longest;
    if (place >= rings + columns + rows)
        return;
    int first = place < rings ? 0 : place < rings + columns ? rings : rings + columns;
    int size = place < rings ? rings : place < rings + columns ? columns : rows;
    int half = place < rings ? ring_half : place < rings + columns ? column_half : row_half;
    int start = place - first - half, own = start + index % longest, last = start + 2 * half;
    if (own > last)
        return;
    const double *profile = mean_log + first;
    double candidate = profile[min(max(own, 0), size - 1)];
    int before = 0; /* of those that are equal the earlier ones come first */
    bool known = true;
    for (int other = start; other <= last; other++) {
        double value = profile[min(max(other, 0), size - 1)];
        known = known && value == value;
        before += other < own ? value <= candidate : value < candidate;
    }
    if (known ? before == half : own == start)
        noise[place] = (float)exp((known ? candidate : NONE) + EULER);
}

/* Power over the noise, and whether it reaches a level; a thread to neighbouring bins. */
extern "C" __global__ void over_noise(
    const float *power, int rows, int columns, const int *ring, int rings,
    const float *noise, /* by ring, by column, by row */
    float level, float *ratio, char *reached)
{
    long long first = first_neighbour();
    int here = neighbours_here(first, (long long)rows * columns), middle = rows / 2;
    if (here <= 0)
        return;
    Neighbours<float> values;
    Neighbours<int> place;
    Neighbours<char> reaches;
    fetch(here, power + first, values, ring + first, place);
    Pixel at = pixel_at(first, columns);
    for (int j = 0; j < NEIGHBOURS; j++, at.next(columns)) {
        float own = noise[place.of[j]];
        if (at.row >= middle - 1 && at.row <= middle + 1)
            own = fmaxf(own, noise[rings + at.column]);
        if (at.column < 2)
            own = fmaxf(own, noise[rings + columns + min(at.row, rows - 1)]);
        values.of[j] /= own;
        reaches.of[j] = values.of[j] >= level;
    }
    put(ratio + first, here, values);
    put(reached + first, here, reaches);
}
