/* Columns as squares of pixels around the sites of a frame: what they sum to, and drawing them.
 *
 * Twins: stamps.stamps, stamps.Stamps.sums and stamps.draw. Heights are the twin's but for the
 * exponential, which is rounded once from double precision.
 */

#include "facts.cuh"
#include "fixed.cuh"
#include "selection.cuh"

/* Standard deviations of the image; beyond it sums of whole multiples might overflow. */
#define MOST_DRAWN 1e6

#define LANES 4   /* threads to a line of a square, beside each other as its pixels are */
#define LINES 256 /* whose lanes are added up at a time */

/* Side of a square along an axis: the first pixel, and how many. */
struct Side {
    int nearest, begin, number, half;
    double centre;
    float scale;
};

/* Pixels from the middle of a square to its edge, as far as there is room. */
__device__ static inline int half_of(double reach, double sigma, int most)
{
    double half = ceil(reach * sigma);
    return half >= 1.0 ? (int)min(half, (double)most) : 1;
}

__device__ static inline Side side_of(double centre, int half, double sigma, int size)
{
    Side side;
    side.nearest = (int)rint(centre);
    side.half = half;
    side.number = min(2 * half + 1, size);
    side.begin = min(max(side.nearest - half, 0), size - side.number);
    side.centre = centre;
    side.scale = (float)(-0.5 / (sigma * sigma));
    return side;
}

/* Height of a column at pixel k of a side; 0 beyond its reach, where the square was moved inwards. */
__device__ static inline float height_at(Side side, int k)
{
    if (abs(side.begin - side.nearest + k) > side.half)
        return 0.0f;
    float distance = (float)(side.begin - side.centre) + (float)k;
    return (float)exp((double)(distance * distance * side.scale));
}

/* Pixels of a line of a column's square: how many, and where the first is. */
struct Line {
    int number;
    long long place;
};

__device__ static inline Line line_of(
    const double *points, int half, double sigma, int rows, int columns, int site, int line)
{
    Side upright = side_of(points[2 * site + 1], half, sigma, rows);
    Side across = side_of(points[2 * site], half, sigma, columns);
    int number = line < upright.number ? across.number : 0;
    return {number, (long long)(upright.begin + line) * columns + across.begin};
}

/* Heights that fit the sites' columns best, and roots of the columns' energies: by sums of image
 * times column, and of weight times its square, first over each line of a square.
 *
 * A block of threads to so many sites.
 */
extern "C" __global__ void __launch_bounds__(TOGETHER) site_responses(
    const double *facts, const float *image, const float *weight, int rows, int columns,
    const double *points, int room, double reach, int most, int sites, /* (room, 2) */
    float *heights, float *lines, double *plain, double *roots) /* (room, 2, 2 most + 1), (room) */
{
    __shared__ float sums[2][LINES * LANES];
    int first = blockIdx.x * sites, high = 2 * most + 1;
    int number = max(min(first + sites, counted(facts, FACT_SITES, room)) - first, 0);
    double sigma = facts[FACT_SIGMA];
    int half = half_of(reach, sigma, most);
    for (int k = threadIdx.x; k < 2 * high * number; k += blockDim.x) {
        int site = first + k / (2 * high), axis = k / high % 2, step = k % high;
        int size = axis ? rows : columns;
        Side side = side_of(points[2 * site + axis], half, sigma, size);
        heights[(long long)first * 2 * high + k] = step < side.number ? height_at(side, step) : 0.0f;
    }
    __syncthreads();
    for (int begin = 0; begin < high * number; begin += LINES) {
        int many = min(LINES, high * number - begin);
        for (int k = threadIdx.x; k < many * LANES; k += blockDim.x) {
            int item = begin + k / LANES, lane = k % LANES, site = first + item / high;
            Line line = line_of(points, half, sigma, rows, columns, site, item % high);
            const float *beside = heights + (long long)site * 2 * high;
            float sum = 0.0f, energy = 0.0f;
            for (int j = lane; j < line.number; j += LANES) {
                sum += image[line.place + j] * beside[j];
                energy += weight[line.place + j] * (beside[j] * beside[j]);
            }
            sums[0][k] = sum;
            sums[1][k] = energy;
        }
        __syncthreads();
        for (int k = threadIdx.x; k < 2 * many; k += blockDim.x) {
            int which = k / many, item = begin + k % many, line = item % high;
            long long site = first + item / high;
            float down = heights[site * 2 * high + high + line], sum = 0.0f;
            for (int lane = 0; lane < LANES; lane++)
                sum += sums[which][k % many * LANES + lane];
            lines[(site * 2 + which) * high + line] = sum * (which ? down * down : down);
        }
        __syncthreads();
    }
    for (int site = first + threadIdx.x; site < first + number; site += blockDim.x) {
        const float *own = lines + (long long)site * 2 * high;
        float response = 0.0f, energy = 0.0f;
        for (int line = 0; line < high; line++) {
            response += own[line];
            energy += own[high + line];
        }
        double whole = energy > 1e-12 ? (double)energy : 1e-12;
        plain[site] = response / whole;
        roots[site] = sqrt(whole);
    }
}

/* Draw listed columns of given heights with their tails; each block of threads draws some of them.
 *
 * Pixels are summed as whole multiples, so that the order of the list and of blocks has no part.
 */
extern "C" __global__ void __launch_bounds__(TOGETHER) columns_drawn(
    const double *facts, const double *heights, const int *listed, const int *numbers,
    const double *points, int room, int rows, int columns, double reach, int most, int most_tails,
    double tail_height, double tail_sigma, int drawers,
    float *sides, /* (drawers, 4, 2 edge + 1): across and down, then those of the tails */
    fixed *drawn) /* (rows, columns), zeros */
{
    double widths[2] = {facts[FACT_SIGMA], tail_sigma * facts[FACT_CONSTANT]};
    int halves[2] = {half_of(reach, widths[0], most), half_of(reach, widths[1], most_tails)};
    int edge = max(most, most_tails), high = 2 * edge + 1;
    float *own = sides + (long long)blockIdx.x * 4 * high;
    for (int next = blockIdx.x; next < numbers[0] + numbers[1] + numbers[2]; next += drawers) {
        int part = 0, rest = next;
        while (rest >= numbers[part])
            rest -= numbers[part++];
        int site = listed[counted(facts, FACT_STARTS + part, room) + rest];
        double height = heights[site];
        int left = (int)rint(points[2 * site]) - edge, top = (int)rint(points[2 * site + 1]) - edge;
        for (int k = threadIdx.x; k < 4 * high; k += blockDim.x) {
            int axis = k / high % 2, tail = k / (2 * high), size = axis ? rows : columns;
            Side side = side_of(points[2 * site + axis], halves[tail], widths[tail], size);
            own[k] = height_at(side, (axis ? top : left) + k % high - side.begin);
        }
        __syncthreads();
        float core = (float)((1.0 - tail_height) * height), tails = (float)(tail_height * height);
        for (int k = threadIdx.x; k < high * high; k += blockDim.x) {
            int down = k / high, across = k % high, row = top + down, column = left + across;
            if (row < 0 || row >= rows || column < 0 || column >= columns)
                continue;
            double sum = (double)(own[high + down] * own[across] * core)
                + own[3 * high + down] * own[2 * high + across] * tails;
            if (sum != 0.0 && fabs(sum) < MOST_DRAWN)
                add_fixed(drawn + (long long)row * columns + column, sum);
        }
        __syncthreads(); /* until the sides were read */
    }
}
