/* Columns as squares of pixels around the sites of a frame: what they sum to, and drawing them.
 *
 * Twins: stamps.stamps, stamps.Stamps.sums and stamps.draw. Heights are the twin's but for the last
 * places of the exponential.
 */

#include "facts.cuh"
#include "fixed.cuh"
#include "selection.cuh"

/* Standard deviations of the image; beyond it sums of whole multiples might overflow. */
#define MOST_DRAWN 1e6

#define SITES 16      /* to a block that matches their columns */
#define LANES 16      /* threads to a site, beside each other as the pixels of a line are: most have 15 */
#define MATCHING 256  /* threads to such a block */
#define AT_ONCE 8     /* lines that a thread has under way */

/* Side of a square along an axis: the first pixel, how far it is from the centre, and how many. */
struct Side {
    int nearest, begin, number, half;
    float off, scale;
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
    side.off = (float)(side.begin - centre);
    side.scale = (float)(-0.5 / (sigma * sigma));
    return side;
}

/* Height of a column at pixel k of a side; 0 beyond its reach, where the square was moved inwards. */
__device__ static inline float height_at(Side side, int k)
{
    if (abs(side.begin - side.nearest + k) > side.half)
        return 0.0f;
    float distance = side.off + (float)k;
    return expf(distance * distance * side.scale);
}

/* What a lane sums over its columns of pixels: image times column, and weight times its square where
 * that is asked for. Both are products of two sides, so that one of them waits until the end. */
struct Matched {
    float response, energy;
};

template <bool WEIGHED> __device__ static Matched matched(
    const float *image, const float *weight, int columns, Side upright, Side across,
    const float *down, int lane)
{
    Matched whole = {0.0f, 0.0f};
    for (int j = lane; j < across.number; j += LANES) {
        long long top = (long long)upright.begin * columns + across.begin + j;
        const float *pixels = image + top, *worths = weight + top;
        Matched own = {0.0f, 0.0f};
        for (int first = 0; first < upright.number; first += AT_ONCE) {
            float value[AT_ONCE], worth[AT_ONCE];
            for (int k = 0; k < AT_ONCE; k++) {
                int place = min(first + k, upright.number - 1) * columns;
                value[k] = pixels[place];
                worth[k] = WEIGHED ? worths[place] : 0.0f;
            }
            for (int k = 0; k < AT_ONCE; k++) {
                float height = first + k < upright.number ? down[first + k] : 0.0f;
                own.response = fmaf(height, value[k], own.response);
                own.energy = fmaf(height * height, worth[k], own.energy);
            }
        }
        float height = height_at(across, j);
        whole.response = fmaf(height, own.response, whole.response);
        whole.energy = fmaf(height * height, own.energy, whole.energy);
    }
    return whole;
}

/* Heights that fit the sites' columns best, and roots of the columns' energies: by sums of image
 * times column, and of weight times its square. A block of threads to SITES sites.
 *
 * Energies are the same of every image, and are known after the first.
 */
extern "C" __global__ void __launch_bounds__(MATCHING) site_responses(
    const double *facts, const float *image, const float *weight, int rows, int columns,
    const double *points, int room, double reach, int most, int known, /* (room, 2) */
    float *heights, double *plain, double *energies, double *roots) /* (room, 2 most + 1), (room) */
{
    __shared__ Matched sums[SITES][LANES + 1];
    __shared__ Side sides[SITES][2]; /* across and upright */
    int first = blockIdx.x * SITES, high = 2 * most + 1;
    int number = max(min(first + SITES, counted(facts, FACT_SITES, room)) - first, 0);
    double sigma = facts[FACT_SIGMA];
    int half = half_of(reach, sigma, most);
    for (int k = threadIdx.x; k < 2 * number; k += blockDim.x)
        sides[k / 2][k % 2] =
            side_of(points[2 * first + k], half, sigma, k % 2 ? rows : columns);
    __syncthreads();
    for (int k = threadIdx.x; k < LANES * number; k += blockDim.x) {
        Side upright = sides[k / LANES][1];
        for (int line = k % LANES; line < upright.number; line += LANES)
            heights[(long long)(first + k / LANES) * high + line] = height_at(upright, line);
    }
    __syncthreads();
    for (int k = threadIdx.x; k < LANES * number; k += blockDim.x) {
        const Side *own = sides[k / LANES];
        const float *down = heights + (long long)(first + k / LANES) * high;
        sums[k / LANES][k % LANES] =
            known ? matched<false>(image, weight, columns, own[1], own[0], down, k % LANES)
                  : matched<true>(image, weight, columns, own[1], own[0], down, k % LANES);
    }
    __syncthreads();
    for (int k = threadIdx.x; k < number; k += blockDim.x) {
        Matched whole = {0.0f, 0.0f};
        for (int lane = 0; lane < LANES; lane++) {
            whole.response += sums[k][lane].response;
            whole.energy += sums[k][lane].energy;
        }
        double sound = whole.energy > 1e-12 ? (double)whole.energy : 1e-12;
        double energy = known ? energies[first + k] : sound;
        plain[first + k] = whole.response / energy;
        energies[first + k] = energy;
        roots[first + k] = sqrt(energy);
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
