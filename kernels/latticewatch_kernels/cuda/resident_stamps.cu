/* Columns as squares of pixels around the sites of a frame: what they sum to, and drawing them.
 *
 * Twins: stamps.stamps, stamps.Stamps.sums and stamps.draw. Heights are the twin's but for the
 * exponential, which is rounded once from double precision.
 */

#include "facts.cuh"
#include "fixed.cuh"

/* Side of a square along an axis: the first pixel, and how many. */
struct Side {
    int nearest, begin, number, half;
    double centre;
    float scale;
};

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

/* Sums over each line of the squares: of image times column, and of weight times its square.
 *
 * A thread to a line of a site's square.
 */
extern "C" __global__ void site_lines(
    const double *facts, const float *image, const float *weight, int rows, int columns,
    const double *points, int room, int half, /* (room, 2) */
    float *lines)                             /* (2, room, 2 half + 1) */
{
    long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    int high = 2 * half + 1, site = (int)(index / high), line = (int)(index % high);
    if (site >= counted(facts, FACT_SITES, room))
        return;
    double sigma = facts[FACT_SIGMA];
    Side down = side_of(points[2 * site + 1], half, sigma, rows);
    Side across = side_of(points[2 * site], half, sigma, columns);
    float sum = 0.0f, energy = 0.0f;
    if (line < down.number) {
        float height = height_at(down, line);
        long long first = (long long)(down.begin + line) * columns + across.begin;
        for (int k = 0; k < across.number; k++) {
            float beside = height_at(across, k);
            sum += image[first + k] * beside;
            energy += weight[first + k] * (beside * beside);
        }
        sum *= height;
        energy *= height * height;
    }
    lines[index] = sum;
    lines[(long long)room * high + index] = energy;
}

/* Sums over the lines of each square; a thread to a site. */
extern "C" __global__ void site_sums(
    const double *facts, const float *lines, int room, int high,
    float *responses, float *squares) /* (room) */
{
    int site = blockIdx.x * blockDim.x + threadIdx.x;
    if (site >= room)
        return;
    float response = 0.0f, energy = 0.0f;
    if (site < counted(facts, FACT_SITES, room)) {
        for (int k = 0; k < high; k++) {
            response += lines[(long long)site * high + k];
            energy += lines[(long long)(room + site) * high + k];
        }
    }
    responses[site] = response;
    squares[site] = energy;
}

/* One Gaussian's part of a line of a square. */
__device__ static inline void draw_line(
    fixed *drawn, int columns, Side down, Side across, int row, float height)
{
    int line = row - down.begin;
    if (line < 0 || line >= down.number)
        return;
    float beside = height_at(down, line);
    for (int k = 0; k < across.number; k++) {
        float part = beside * height_at(across, k) * height;
        if (part != 0.0f && fabsf(part) < 1e6f)
            add_fixed(drawn + (long long)row * columns + across.begin + k, part);
    }
}

/* Draw columns of given heights with their tails; a thread to a line of a site's greater square. */
extern "C" __global__ void columns_drawn(
    const double *facts, const double *heights, const double *points, int room,
    int rows, int columns, int half, int tail_half, double tail_height, double tail_sigma,
    fixed *drawn) /* (rows, columns), zeros */
{
    long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    int reach = max(half, tail_half), high = 2 * reach + 1, site = (int)(index / high);
    if (site >= counted(facts, FACT_SITES, room) || heights[site] == 0.0)
        return;
    double x = points[2 * site], y = points[2 * site + 1], height = heights[site];
    int row = (int)rint(y) - reach + (int)(index % high);
    if (row < 0 || row >= rows)
        return;
    double sigma = facts[FACT_SIGMA], tails = tail_sigma * facts[FACT_CONSTANT];
    draw_line(drawn, columns, side_of(y, half, sigma, rows), side_of(x, half, sigma, columns), row,
        (float)((1.0 - tail_height) * height));
    draw_line(drawn, columns, side_of(y, tail_half, tails, rows),
        side_of(x, tail_half, tails, columns), row, (float)(tail_height * height));
}
