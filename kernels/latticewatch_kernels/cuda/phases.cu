/* What is missing of a frame's crystal, to disorder and to holes. Twin: phases.area_fractions.
 *
 * All is in double precision. A block of threads has some cells of a row: it averages, or looks for what
 * is nearest, along columns first, for these and as many on either side as are within reach, and then
 * along the row. Beyond the map its cells are mirrored, which puts nothing nearer than it is. Where no
 * cell lacks amplitude nothing is missing, and all is left as it is.
 */

#include "facts.cuh"
#include "selection.cuh"

#define WAVES 6       /* real and imaginary parts, behind the mean of what was averaged */
#define STRIP 64      /* cells of a row to a block */
#define MOST_REACH 24 /* cells that an average reaches, whose lattice constant is below three */
#define BROAD (STRIP + 2 * MOST_REACH)
#define CUT 4.0 /* standard deviations that SciPy's averages reach */
#define FAR 1e9 /* square of a distance, cells, beyond any reach */

/* Multiples of the sums over blocks, which are therefore those of any order. */
#define SHARE_UNITS 1073741824.0

/* Some cells of a row, and where those around them lie in the map. */
struct Strip {
    int row, first, number, reach;
    int rows[2 * MOST_REACH + 1], columns[BROAD]; /* a row's first cell, a column's number */
    double weights[MOST_REACH + 1];               /* of an average, by the distance */
};

/* A whole number of cells, whatever the facts are. */
__device__ static inline int whole_reach(double cells)
{
    return cells >= 0.0 ? (int)min(cells, (double)MOST_REACH) : 0;
}

__device__ static inline int mirrored(int place, int size)
{
    int within = place % (2 * size);
    within += within < 0 ? 2 * size : 0;
    return within < size ? within : 2 * size - 1 - within;
}

/* Those of a block, which all its threads lay out; a barrier is to follow. */
__device__ static void lay(Strip *strip, int reach, int high, int wide)
{
    int strips = (wide + STRIP - 1) / STRIP, row = blockIdx.x / strips;
    int first = blockIdx.x % strips * STRIP, number = min(STRIP, wide - first);
    if (threadIdx.x == 0) {
        strip->row = row;
        strip->first = first;
        strip->number = number;
        strip->reach = reach;
    }
    for (int k = threadIdx.x; k <= 2 * reach; k += blockDim.x)
        strip->rows[k] = mirrored(row + k - reach, high) * wide;
    for (int k = threadIdx.x; k < number + 2 * reach; k += blockDim.x)
        strip->columns[k] = mirrored(first + k - reach, wide);
}

/* Weights of an average by SciPy's gaussian_filter; a barrier is to follow. */
__device__ static void weigh(Strip *strip, double sigma, int reach)
{
    double part = 0.0;
    for (int k = threadIdx.x; k <= reach; k += blockDim.x) {
        strip->weights[k] = exp(-0.5 / (sigma * sigma) * (double)(k * k));
        part += k > 0 ? 2.0 * strip->weights[k] : strip->weights[k];
    }
    double total = summed(part);
    for (int k = threadIdx.x; k <= reach; k += blockDim.x)
        strip->weights[k] /= total;
}

/* Average of at(-reach) to at(reach), in SciPy's order. */
template <class At> __device__ static inline double average(const Strip &strip, At at)
{
    double sum = at(0) * strip.weights[0];
    #pragma unroll 4
    for (int k = strip.reach; k > 0; k--)
        sum += (at(-k) + at(k)) * strip.weights[k];
    return sum;
}

/* Least of the squares of distances along one axis and those that are known of the other. */
template <class At> __device__ static inline double least_square(int reach, At at)
{
    double least = FAR;
    for (int k = -reach; k <= reach; k++)
        least = min(least, at(k) + k * k);
    return least;
}

/* Amplitude along the waves' average, in which cells that lack have no part, and sums over cells that
 * no such cell is near to: their number, and their amplitude and texture.
 *
 * Amplitudes below `less` lack; cells within `near` lattice constants are near; `slow` is the standard
 * deviation of the average. What is averaged lies as order.cu has it.
 */
extern "C" __global__ void __launch_bounds__(TOGETHER) phase_order(
    const double *facts, const double *lacking, const float *averages, const float *amplitude,
    int high, int wide, int stride, double less, double near, double slow,
    double *order, double *sums) /* (high, wide), (strips, 3) */
{
    if (!(*lacking > 0.0))
        return;
    __shared__ Strip strip;
    __shared__ double lines[(WAVES + 1) * BROAD], references[WAVES * STRIP];
    double cell = facts[FACT_CONSTANT] / stride, within = near * cell;
    int reach = whole_reach(CUT * (slow * cell) + 0.5), steps = min(whole_reach(within), reach);
    lay(&strip, reach, high, wide);
    weigh(&strip, slow * cell, reach);
    __syncthreads();
    int number = strip.number, broad = number + 2 * reach;
    for (int k = threadIdx.x; k < (WAVES + 1) * broad; k += blockDim.x) {
        int part = k / broad, place = k % broad;
        const float *column = amplitude + strip.columns[place];
        const float *wave = averages + (long long)(1 + part) * high * wide + strip.columns[place];
        auto lacks = [&](int row) { return column[strip.rows[reach + row]] < (float)less; };
        auto kept = [&](int row) {
            double value = wave[strip.rows[reach + row]]; /* at once, not when amplitude is here */
            return lacks(row) ? 0.0 : value;
        };
        lines[part * BROAD + place] =
            part < WAVES ? average(strip, kept)
                         : least_square(steps, [&](int row) { return lacks(row) ? 0.0 : FAR; });
    }
    __syncthreads();
    for (int k = threadIdx.x; k < WAVES * number; k += blockDim.x) {
        const double *line = lines + k / number * BROAD + reach + k % number;
        references[k / number * STRIP + k % number] =
            average(strip, [=](int column) { return line[column]; });
    }
    __syncthreads();
    double inner[3] = {0.0, 0.0, 0.0};
    for (int k = threadIdx.x; k < number; k += blockDim.x) {
        int index = strip.row * wide + strip.first + k;
        double size = 0.0, along = 0.0;
        for (int part = 0; part < WAVES; part++) {
            double reference = references[part * STRIP + k];
            size += reference * reference;
            along += averages[(long long)(1 + part) * high * wide + index] * reference;
        }
        along /= max(sqrt(size), (double)1.17549435e-38f);
        order[index] = along;
        const double *line = lines + WAVES * BROAD + reach + k;
        if (least_square(steps, [=](int column) { return line[column]; }) <= within * within)
            continue;
        float mean = averages[index], product = averages[(long long)(1 + WAVES) * high * wide + index];
        inner[0] += 1.0;
        inner[1] += along;
        inner[2] += product - mean * mean;
    }
    for (int k = 0; k < 3; k++) {
        double sum = summed(inner[k]);
        if (threadIdx.x == 0)
            sums[3 * blockIdx.x + k] = sum;
    }
}

/* Means of amplitude and texture over the most crystalline cells; all threads of a block. */
template <class Texture> __device__ static void
most_crystalline(const double *order, int cells, double quantile, Texture texture, double *sum)
{
    /* as NumPy takes a quantile */
    double place = quantile * (cells - 1), part[3] = {0.0, 0.0, 0.0};
    int below = min(max((int)floor(place), 0), cells - 1);
    Two two = two_ranked([=](int k) { return order[k]; }, cells, below, below + 1 < cells);
    double share = place - below, gap = two.second - two.first;
    double least = share < 0.5 ? two.first + gap * share : two.second - gap * (1.0 - share);
    for (int k = threadIdx.x; k < cells; k += blockDim.x)
        if (order[k] >= least) {
            part[0] += 1.0;
            part[1] += order[k];
            part[2] += texture(k);
        }
    for (int k = 0; k < 3; k++)
        sum[k] = summed(part[k]);
}

/* Averages over cells that lack: their number, amplitude and texture, of which is made what they lack;
 * and, by a last block, the crystal's own amplitude and texture: means over inner cells or, where they
 * are fewer than `least`, over the most crystalline. */
extern "C" __global__ void __launch_bounds__(TOGETHER) phase_texture(
    const double *facts, const double *lacking, const float *averages, const float *amplitude,
    const double *order, const double *sums, int high, int wide, int stride,
    double less, int strips, int least, double quantile,
    double *averaged, double *means) /* (3, high, wide), (2) */
{
    if (!(*lacking > 0.0))
        return;
    int cells = high * wide;
    const float *product = averages + (long long)(1 + WAVES) * cells;
    auto texture = [=](int k) { return product[k] - averages[k] * averages[k]; };
    if (blockIdx.x == strips) {
        double sum[3];
        for (int k = 0; k < 3; k++) {
            double part = 0.0;
            for (int strip = threadIdx.x; strip < strips; strip += blockDim.x)
                part += sums[3 * strip + k];
            sum[k] = summed(part);
        }
        if (sum[0] < least)
            most_crystalline(order, cells, quantile, texture, sum);
        for (int k = threadIdx.x; k < 2; k += blockDim.x)
            means[k] = sum[1 + k] / sum[0];
        return;
    }
    __shared__ Strip strip;
    __shared__ double lines[3 * BROAD];
    double cell = facts[FACT_CONSTANT] / stride;
    int reach = whole_reach(CUT * cell + 0.5);
    lay(&strip, reach, high, wide);
    weigh(&strip, cell, reach);
    __syncthreads();
    int number = strip.number, broad = number + 2 * reach;
    for (int k = threadIdx.x; k < 3 * broad; k += blockDim.x) {
        int part = k / broad, place = k % broad;
        lines[part * BROAD + place] = average(strip, [&](int row) {
            int index = strip.rows[reach + row] + strip.columns[place];
            double value = part == 0 ? 1.0 : part == 1 ? order[index] : (double)texture(index);
            return amplitude[index] < (float)less ? value : 0.0;
        });
    }
    __syncthreads();
    for (int k = threadIdx.x; k < 3 * number; k += blockDim.x) {
        const double *line = lines + k / number * BROAD + reach + k % number;
        averaged[(long long)(k / number) * cells + strip.row * wide + strip.first + k % number] =
            average(strip, [=](int column) { return line[column]; });
    }
}

/* Amplitude that is missing, in cells, to disorder and to holes: each cell's that one which lacks is
 * near to, by whether the nearest that lacks is one of a hole's. */
extern "C" __global__ void __launch_bounds__(TOGETHER) phase_missing(
    double *facts, const double *lacking, const float *amplitude, const double *order,
    const double *averaged, const double *means, int high, int wide, int stride,
    double less, double near, double rough)
{
    if (!(*lacking > 0.0))
        return;
    __shared__ Strip strip;
    __shared__ double lines[2 * BROAD];
    double within = near * (facts[FACT_CONSTANT] / stride);
    int reach = whole_reach(within), cells = high * wide;
    lay(&strip, reach, high, wide);
    __syncthreads();
    int number = strip.number;
    /* squares of distances along columns to what lacks of disorder, and of holes */
    for (int k = threadIdx.x; k < number + 2 * reach; k += blockDim.x) {
        double nearest[2] = {FAR, FAR};
        for (int row = -reach; row <= reach; row++) {
            int index = strip.rows[reach + row] + strip.columns[k];
            if (!(amplitude[index] < (float)less))
                continue;
            double ordered = averaged[cells + index] / means[0];
            double matter = averaged[2 * cells + index] / means[1];
            bool hole = matter - ordered < rough * (averaged[index] - ordered);
            nearest[hole] = min(nearest[hole], (double)(row * row));
        }
        for (int hole = 0; hole < 2; hole++)
            lines[hole * BROAD + k] = nearest[hole];
    }
    __syncthreads();
    double missing[2] = {0.0, 0.0};
    for (int k = threadIdx.x; k < number; k += blockDim.x) {
        double nearest[2];
        for (int hole = 0; hole < 2; hole++) {
            const double *line = lines + hole * BROAD + reach + k;
            nearest[hole] = least_square(reach, [=](int column) { return line[column]; });
        }
        if (min(nearest[0], nearest[1]) <= within * within)
            missing[nearest[1] <= nearest[0]] +=
                1.0 - order[strip.row * wide + strip.first + k] / means[0];
    }
    for (int hole = 0; hole < 2; hole++) {
        double sum = summed(missing[hole]);
        if (threadIdx.x == 0 && sum != 0.0)
            atomicAdd(&facts[FACT_MISSING + hole], rint(sum * SHARE_UNITS) / SHARE_UNITS);
    }
}
