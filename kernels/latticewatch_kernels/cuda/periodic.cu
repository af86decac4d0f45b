/* What the periodic part of a frame depends on, by its facts.
 *
 * Twins: extension.sides, periodic._local_mean, periodic._nodes and periodic._gaussians. What is done
 * to pixels with it is in bragg.cu.
 */

#include "facts.cuh"
#include "selection.cuh"

#define FARTHEST_CELL 256 /* cells along either lattice vector that a translation is looked for in */
#define NOWHERE 0x7fffffff

/* Least of the threads' numbers and its place, which all threads get; of equals the first place. */
__device__ static double least_of(double number, int *place)
{
    __shared__ double numbers[TOGETHER];
    __shared__ int places[TOGETHER];
    int thread = threadIdx.x;
    __syncthreads(); /* until the last one was read */
    numbers[thread] = number;
    places[thread] = *place;
    __syncthreads();
    for (int width = blockDim.x / 2; width > 0; width /= 2) {
        int other = thread + width;
        if (thread < width
            && (numbers[other] < numbers[thread]
                || (numbers[other] == numbers[thread] && places[other] < places[thread]))) {
            numbers[thread] = numbers[other];
            places[thread] = places[other];
        }
        __syncthreads();
    }
    *place = places[0];
    return numbers[0];
}

/* Weights of cubic convolution. Twin: sampling.cubic_weights. */
__device__ static void cubic_taps(double t, float *weights)
{
    double t2 = t * t, t3 = t2 * t;
    weights[0] = (float)(-0.5 * t3 + t2 - 0.5 * t);
    weights[1] = (float)(1.5 * t3 - 2.5 * t2 + 1.0);
    weights[2] = (float)(-1.5 * t3 + 2.0 * t2 + 0.5 * t);
    weights[3] = (float)(0.5 * t3 - 0.5 * t2);
}

/* Lattice vector (y, x) that leads along an axis (0 rows, 1 columns) by one cell and another. */
__device__ static void stepped(const double *facts, int place, int reach, double *step)
{
    int first = place % (2 * reach + 1) - reach, second = place / (2 * reach + 1) - reach;
    const double *a = facts + FACT_VECTORS;
    step[0] = first * a[1] + second * a[3];
    step[1] = first * a[0] + second * a[2];
}

/* A translation that continues a frame along an axis, to one side; all threads of a block.
 *
 * Twin: extension._translation. Where none serves, whole pixels do instead: none lead out of the
 * frame farther than it is long.
 */
__device__ static void translation(
    double *facts, int axis, int side, int size, int other, int before, int longer,
    double search_cells, double length_cost,
    int *steps, float *weights) /* (4, 2) and (4, 2, 4) of `extended` */
{
    int least = max(before, longer - size - before), found = NOWHERE;
    double a = facts[FACT_CONSTANT], cost = BEYOND;
    double span = ceil((least + (search_cells + 1) * a) / a * 1.5) + 2;
    int reach = span >= 0.0 ? (int)min(span, (double)FARTHEST_CELL) : 0;
    double longest = min(least + search_cells * a, size - 2.0);
    double widest = min(0.5 * search_cells * a, other / 2 - 2.0);
    for (int k = threadIdx.x; k < (2 * reach + 1) * (2 * reach + 1); k += blockDim.x) {
        double step[2];
        stepped(facts, k, reach, step);
        double along = step[axis], aside = side * step[1 - axis];
        if (!(along >= least + 1 && along <= longest && aside >= -0.5 && aside <= widest))
            continue;
        double rounding = hypot(step[0] - rint(step[0]), step[1] - rint(step[1]));
        double here = rounding + length_cost * (along - least + aside) / a;
        if (here < cost) {
            cost = here;
            found = k;
        }
    }
    cost = least_of(cost, &found);
    if (threadIdx.x > 0)
        return;
    double vector[2] = {0.0, 0.0};
    vector[axis] = min(least + 1, size - 1);
    if (cost < BEYOND)
        stepped(facts, found, reach, vector);
    else
        refuse(facts, REFUSAL_TOO_SMALL);
    /* it is taken before the frame, and backwards behind it, where it leads to the other half */
    int places[2] = {side > 0 ? 0 : 1, side > 0 ? 3 : 2};
    for (int turn = 0; turn < 2; turn++)
        for (int which = 0; which < 2; which++) {
            double part = turn ? -vector[which] : vector[which], off = part - rint(part);
            int slot = 2 * places[turn] + which;
            steps[slot] = (int)(floor(part) - 1.0);
            cubic_taps(off < 0.0 ? off + 1.0 : off, weights + 4 * slot);
        }
}

/* Cells on either side that a Gaussian average takes in. Twin: scipy.ndimage.gaussian_filter. */
__device__ static int reaching(double sigma, int most)
{
    double reach = 4.0 * sigma + 0.5;
    return reach >= 0.0 ? (int)min(reach, (double)most) : 0;
}

/* Standard deviations in cells: of the filter's window, and of the average that the mean is. */
__device__ static double averaged_over(const double *facts, int which, double smoothing, int stride)
{
    return (which == 0 ? facts[FACT_WINDOW] : smoothing * facts[FACT_CONSTANT]) / stride;
}

/* Cells far enough from a hole to know no vacuum. */
__device__ static bool inner_cell(
    const float *maps, const char *crystalline, float inner_amplitude, int cell)
{
    return crystalline[cell] && maps[cell] > inner_amplitude;
}

/* Mean of the inner cells, the least of all, and weights of the averages; all threads of a block. */
__device__ static void levels(
    const double *facts, const float *maps, const char *crystalline, int cells, int stride,
    float inner_amplitude, double smoothing, int most,
    double *numbers) /* mean, least, and (2, most + 1) */
{
    const float *mean = maps + 2 * cells;
    double sum = 0.0, number = 0.0, least = BEYOND;
    for (int k = threadIdx.x; k < cells; k += blockDim.x) {
        if (inner_cell(maps, crystalline, inner_amplitude, k)) {
            sum += mean[k];
            number += 1.0;
        }
        least = mean[k] < least ? mean[k] : least;
    }
    sum = summed(sum);
    number = summed(number);
    int place = threadIdx.x;
    least = least_of(least, &place);
    for (int which = 0; which < 2; which++) {
        double sigma = averaged_over(facts, which, smoothing, stride), total = 0.0;
        double *weights = numbers + 2 + which * (most + 1), narrow = -0.5 / (sigma * sigma);
        int reach = reaching(sigma, most);
        for (int k = threadIdx.x; k <= reach; k += blockDim.x) {
            weights[k] = exp(narrow * ((double)k * k));
            total += k == 0 ? weights[k] : 2.0 * weights[k];
        }
        total = summed(total);
        for (int k = threadIdx.x; k <= reach; k += blockDim.x)
            weights[k] /= total;
    }
    if (threadIdx.x == 0) {
        numbers[0] = sum / max(number, 1.0);
        numbers[1] = least;
    }
}

/* Translations along columns and along rows, two blocks each, and in a fifth what holes ask for. */
extern "C" __global__ void __launch_bounds__(TOGETHER) prepared(
    double *facts, int rows, int columns, int top, int left, int longer_rows, int longer_columns,
    double search_cells, double length_cost,
    const float *maps, const char *crystalline, int cells, int stride, /* (5, cells) and (cells) */
    float inner_amplitude, double smoothing, int most,
    int *steps, float *weights, double *numbers) /* (2, 4, 2), (2, 4, 2, 4), (2 + 2 (most + 1)) */
{
    int block = blockIdx.x, side = block % 2 ? -1 : 1;
    if (block < 2)
        translation(facts, 1, side, columns, rows, left, longer_columns, search_cells, length_cost,
                    steps, weights);
    else if (block < 4)
        translation(facts, 0, side, rows, longer_columns, top, longer_rows, search_cells,
                    length_cost, steps + 8, weights + 32);
    else if (facts[FACT_HOLES] > 0.0)
        levels(facts, maps, crystalline, cells, stride, inner_amplitude, smoothing, most, numbers);
}

/* Cell at a place along an axis, reflected about its borders as often as need be. */
__device__ static int reflected(int place, int size)
{
    place %= 2 * size;
    place += place < 0 ? 2 * size : 0;
    return place < size ? place : 2 * size - 1 - place;
}

/* Gaussian average of at(place) about a place along an axis, in scipy's order of sums. */
template <class At>
__device__ static float averaged(At at, int place, int size, const double *weights, int reach)
{
    double sum = at(place) * weights[0];
    for (int k = reach; k > 0; k--)
        sum += ((double)at(reflected(place - k, size)) + at(reflected(place + k, size))) * weights[k];
    return (float)sum;
}

/* Averages along rows' axis where there are holes; one thread to a cell of one of four maps.
 *
 * Of the specimen, of the inner cells' mean and of the inner cells over the filter's window, and of
 * the specimen over what the mean is an average of.
 */
extern "C" __global__ void averaged_rows(
    const double *facts, const float *maps, const char *crystalline, const char *hole,
    int high, int wide, int stride, float inner_amplitude, double smoothing, int most,
    const double *numbers, float *lines) /* (4, high, wide) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x, cells = high * wide, map = index / cells;
    if (index >= 4 * cells || !(facts[FACT_HOLES] > 0.0))
        return;
    int row = index % cells / wide, column = index % wide, which = map == 3 ? 1 : 0;
    auto at = [=](int place) {
        int cell = place * wide + column;
        if (map == 0 || map == 3)
            return hole[cell] ? 0.0f : 1.0f;
        float inner = inner_cell(maps, crystalline, inner_amplitude, cell) ? 1.0f : 0.0f;
        return map == 1 ? inner * maps[2 * cells + cell] : inner;
    };
    int reach = reaching(averaged_over(facts, which, smoothing, stride), most);
    lines[index] = averaged(at, row, high, numbers + 2 + which * (most + 1), reach);
}

/* Local mean of the specimen, its two weights, and holes as numbers; one thread to a cell. */
extern "C" __global__ void local_mean(
    const double *facts, const float *maps, const char *hole,
    int high, int wide, int stride, double smoothing, int most, float least_cover, float least_part,
    const double *numbers, const float *lines, float *means) /* (4, high, wide) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x, cells = high * wide;
    if (index >= cells)
        return;
    float mean = maps[2 * cells + index], specimen = 1.0f, cover = 1.0f;
    bool holes = facts[FACT_HOLES] > 0.0;
    if (holes) {
        float averages[4];
        for (int map = 0; map < 4; map++) {
            int which = map == 3 ? 1 : 0;
            const float *line = lines + map * cells + index / wide * wide;
            int reach = reaching(averaged_over(facts, which, smoothing, stride), most);
            averages[map] = averaged([=](int place) { return line[place]; }, index % wide, wide,
                                     numbers + 2 + which * (most + 1), reach);
        }
        float weight = averages[2], part = averages[3];
        float beyond = weight > least_cover ? averages[1] / fmaxf(weight, least_cover) : (float)numbers[0];
        float unmixed = (mean - (1.0f - part) * (float)numbers[1]) / fmaxf(part, least_part);
        float trust = fminf(fmaxf((part - least_part) / (1.0f - least_part), 0.0f), 1.0f);
        mean = trust * unmixed + (1.0f - trust) * beyond;
        specimen = hole[index] ? 0.0f : 1.0f;
        cover = averages[0];
    }
    means[index] = mean;
    means[cells + index] = specimen;
    means[2 * cells + index] = cover;
    means[3 * cells + index] = holes && hole[index] ? 1.0f : 0.0f;
}

/* Gaussians about the nodes along rows and along columns; one thread to a frequency of a node.
 *
 * A node that reaches the highest frequency along an axis counts as nothing along both.
 */
extern "C" __global__ void node_gaussians_by_facts(
    const double *facts, const int *indices, int half, /* (2, half, 2): vectors 60, 120 degrees apart */
    double highest, int rows, int columns, double least,
    float *down, float *across) /* (rows, 2 half), (2 half, columns / 2 + 1): as bins are read */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x, bin = index / (2 * half);
    int bins = columns / 2 + 1, node = index % (2 * half);
    if (bin >= rows + bins)
        return;
    const double *a = facts + FACT_VECTORS, *b = a + 2;
    double scale = 1.0 / (a[0] * b[1] - a[1] * b[0]);
    double first[2] = {b[1] * scale, -b[0] * scale}, second[2] = {-a[1] * scale, a[0] * scale};
    const int *at = indices + 2 * (node % half);
    if (first[0] * second[0] + first[1] * second[1] < 0.0)
        at += 2 * half;
    double x = at[0] * first[0] + at[1] * second[0], y = at[0] * first[1] + at[1] * second[1];
    bool along = bin < rows, inside = fabs(x) < highest && fabs(y) < highest;
    int size = along ? rows : columns;
    bin = along ? bin : bin - rows;
    double frequency = (double)(!along || bin < (size + 1) / 2 ? bin : bin - size) / size;
    double gap = frequency - (along ? y : x) * (node < half ? 1.0 : -1.0);
    double narrow = 2.0 * 3.14159265358979323846 * facts[FACT_WINDOW];
    float distance = (float)((float)(gap - rint(gap)) * narrow);
    float weight = expf(-0.5f * distance * distance); /* single precision, as the twin's */
    float *place = along ? down + bin * (2 * half) + node : across + node * bins + bin;
    *place = inside && weight >= least ? weight : 0.0f;
}
