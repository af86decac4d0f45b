/* Averages over a Gaussian of one lattice constant, in cells of the map of local order.
 *
 * Twins: order.averaging, deviations._weights, deviations._averaged and deviations._as_in_residual.
 * An image is averaged over blocks, then along rows and along columns of blocks with the weights of
 * `averaging`. Sums of pixels and of weights are in double precision, those of blocks in single as the
 * twin's are: to become double takes a number eight times as long as a product, and these are some
 * hundred million.
 */

#include "between.cuh"
#include "facts.cuh"
#include "fixed.cuh"
#include "noise.cuh"
#include "selection.cuh"

#define BLOCKS_PER_CELL 2
#define SIDE 3 /* rows, and pixels of each, of a block that a thread has under way */

#define AVERAGING 256 /* threads to a block, so that it may have the registers of as few */
#define ROWS 4     /* of cells to a block of threads that averages */
#define TAPS 128   /* blocks whose weights may not be 0; with a stride of one pixel they are 101 */
#define AT_ONCE 16 /* of them, that a thread has under way */
#define LANES 8    /* threads to a cell */
#define HELD 128   /* cells whose lanes are summed at a time */

#define TAKING 128 /* threads to a strip of a row that averages are taken off */
#define PIXELS 4   /* of it to a thread */
#define STRIP (TAKING * PIXELS)
#define STRIP_CELLS (STRIP / BLOCKS_PER_CELL + 2) /* that a strip needs at most */

/* Weights (cells, blocks) of a Gaussian about each cell, for rows and for columns of blocks, which are 0
 * farther than `reach` from the cell's first block.
 *
 * A block of threads to a cell along either axis, first all along rows.
 */
extern "C" __global__ void __launch_bounds__(TOGETHER) averaging(
    const double *facts, double cells_wide, int stride, int high, int wide, int reach, /* blocks */
    double least, float *down, float *across)
{
    __shared__ double heights[TAPS];
    int cells = max(1, high / BLOCKS_PER_CELL), cell = blockIdx.x;
    bool along = cell < cells;
    cell -= along ? 0 : cells;
    int blocks = along ? high : wide, begin = max(cell * BLOCKS_PER_CELL - reach, 0);
    int number = min(min(cell * BLOCKS_PER_CELL + reach + 1, blocks) - begin, TAPS);
    float *weights = (along ? down : across) + (long long)cell * blocks;
    double sigma = cells_wide * facts[FACT_CONSTANT] / stride, part = 0.0;
    double centre = (cell + 0.5) * BLOCKS_PER_CELL - 0.5;
    for (int k = threadIdx.x; k < number; k += blockDim.x) {
        double off = (centre - (begin + k)) / sigma, weight = exp(-0.5 * (off * off));
        heights[k] = weight >= least ? weight : 0.0;
        part += heights[k];
    }
    double total = summed(part);
    for (int block = threadIdx.x; block < blocks; block += blockDim.x) {
        int k = block - begin;
        weights[block] = k >= 0 && k < number ? (float)(heights[k] / total) : 0.0f;
    }
}

/* One over each pixel's variance, 0 in holes; a thread to neighbouring pixels. */
extern "C" __global__ void inverse_variance_by_facts(
    const double *facts, const float *periodic, const char *hole, int rows, int columns, float *weight)
{
    long long first = first_neighbour();
    int here = neighbours_here(first, (long long)rows * columns);
    if (here <= 0)
        return;
    Neighbours<float> values;
    Neighbours<char> empty;
    fetch(here, periodic + first, values, hole + first, empty);
    for (int j = 0; j < NEIGHBOURS; j++)
        values.of[j] = empty.of[j] ? 0.0f : 1.0f / variance_at(values.of[j], facts + FACT_LINE);
    put(weight + first, here, values);
}

/* Hand a block's pixels of an image to `then`, rows first; read(place) gives one. A thread waits once for
 * SIDE rows of SIDE pixels, which is all of most blocks. */
template <class Read, class Then>
__device__ static void each_of_block(long long first, int columns, int block, Read read, Then then)
{
    for (int top = 0; top < block; top += SIDE)
        for (int left = 0; left < block; left += SIDE) {
            decltype(read(0)) value[SIDE][SIDE];
            for (int row = 0; row < SIDE; row++)
                for (int k = 0; k < SIDE; k++)
                    if (top + row < block && left + k < block)
                        value[row][k] = read(first + (long long)(top + row) * columns + left + k);
            for (int row = 0; row < SIDE; row++)
                for (int k = 0; k < SIDE; k++)
                    if (top + row < block && left + k < block)
                        then(value[row][k]);
        }
}

struct Weighted {
    float value, weight;
};

/* Means of blocks of an image times weights, and of the weights; a thread to a block. */
extern "C" __global__ void weighted_means(
    const float *image, const float *weight, int columns, int block, int high, int wide,
    float *means) /* (2, high, wide) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= high * wide)
        return;
    double sum = 0.0, total = 0.0;
    each_of_block((long long)(index / wide * block) * columns + index % wide * block, columns, block,
        [=](long long place) { return Weighted{image[place], weight[place]}; },
        [&](Weighted pixel) {
            sum += pixel.value * pixel.weight;
            total += pixel.weight;
        });
    means[index] = (float)(sum / (block * block));
    means[high * wide + index] = (float)(total / (block * block));
}

/* Means of blocks of an image that was drawn; a thread to a block. */
extern "C" __global__ void drawn_means(
    const float *residual, const fixed *drawn, int columns, int block, int high, int wide,
    float *means) /* (high, wide) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= high * wide)
        return;
    double sum = 0.0;
    each_of_block((long long)(index / wide * block) * columns + index % wide * block, columns, block,
        [=](long long place) { return drawn[place]; },
        [&](fixed height) { sum += (float)from_fixed(height); });
    means[index] = (float)(sum / (block * block));
}

/* A number for each of the rows of cells that a block has. */
struct alignas(16) Four {
    float part[ROWS];
};

/* Averages of a column of blocks by `number` weights from the first on, of which those that follow up
 * to a multiple of AT_ONCE are 0. So many are added up first, that roundings of a few count. */
__device__ static Four weighed(const Four *weights, const float *blocks, int wide, int number)
{
    Four sum = {{0.0f, 0.0f, 0.0f, 0.0f}};
    for (int first = 0; first < number; first += AT_ONCE) {
        Four few = {{0.0f, 0.0f, 0.0f, 0.0f}};
        float value[AT_ONCE];
        for (int k = 0; k < AT_ONCE; k++)
            value[k] = blocks[min(first + k, number - 1) * wide];
        for (int k = 0; k < AT_ONCE; k++) {
            Four weight = weights[first + k];
            for (int row = 0; row < ROWS; row++)
                few.part[row] = fmaf(weight.part[row], value[k], few.part[row]);
        }
        for (int row = 0; row < ROWS; row++)
            sum.part[row] += few.part[row];
    }
    return sum;
}

/* Averages along lines of blocks, LANES threads to a cell of each row; all threads of the block. */
__device__ static void along_rows(
    const Four *line, const float *across, int reach, int wide, int rows, int wide_cells, float *cells)
{
    /* one more than LANES, so that threads of neighbouring cells read from different banks */
    __shared__ Four lanes[HELD][LANES + 1];
    for (int first = 0; first < wide_cells; first += HELD) {
        int number = min(HELD, wide_cells - first);
        __syncthreads(); /* until the line was written, and the last lanes were read */
        for (int k = threadIdx.x; k < number * LANES; k += blockDim.x) {
            int cell = first + k / LANES, left = max(cell * BLOCKS_PER_CELL - reach, 0);
            int right = min(cell * BLOCKS_PER_CELL + reach + 1, wide);
            const float *weights = across + (long long)cell * wide;
            Four sum = {{0.0f, 0.0f, 0.0f, 0.0f}};
            for (int block = left + k % LANES; block < right; block += LANES) {
                float weight = weights[block];
                Four value = line[block];
                for (int row = 0; row < ROWS; row++)
                    sum.part[row] = fmaf(weight, value.part[row], sum.part[row]);
            }
            lanes[k / LANES][k % LANES] = sum;
        }
        __syncthreads();
        for (int k = threadIdx.x; k < number * ROWS; k += blockDim.x) {
            int row = k % ROWS;
            float sum = 0.0f;
            for (int lane = 0; lane < LANES; lane++)
                sum += lanes[k / ROWS][lane].part[row];
            if (row < rows)
                cells[(long long)row * wide_cells + first + k / ROWS] = sum;
        }
    }
}

/* Averages of maps of blocks along columns, then along rows; a block of threads to ROWS rows of cells,
 * which have most of the blocks that they average in common: each is read once for all.
 *
 * Weights of blocks farther than `reach` from a cell's first are 0.
 */
extern "C" __global__ void __launch_bounds__(AVERAGING) averaged(
    const float *means, const float *down, const float *across, int reach, /* (maps, high, wide) */
    int high, int wide, int high_cells, int wide_cells,
    float *lines, float *cells) /* (blocks, wide, ROWS), (maps, high_cells, wide_cells) */
{
    __shared__ Four weights[TAPS];
    int bands = (high_cells + ROWS - 1) / ROWS, map = blockIdx.x / bands;
    int row = blockIdx.x % bands * ROWS, rows = min(ROWS, high_cells - row);
    int top = max(row * BLOCKS_PER_CELL - reach, 0);
    int number = min(min((row + ROWS - 1) * BLOCKS_PER_CELL + reach + 1, high) - top, TAPS);
    const float *here = means + ((long long)map * high + top) * wide;
    Four *line = (Four *)lines + (long long)blockIdx.x * wide;
    for (int k = threadIdx.x; k < TAPS * ROWS; k += blockDim.x) {
        int tap = k % TAPS, own = k / TAPS;
        bool has = tap < number && own < rows;
        weights[tap].part[own] = has ? down[(long long)(row + own) * high + top + tap] : 0.0f;
    }
    __syncthreads();
    for (int column = threadIdx.x; column < wide; column += blockDim.x)
        line[column] = weighed(weights, here + column, wide, number);
    long long first = (long long)map * high_cells + row;
    along_rows(line, across, reach, wide, rows, wide_cells, cells + first * wide_cells);
}

/* An image less its weighted mean, times the weights; a block to a strip of a row.
 *
 * The block has the means of the strip's cells at hand, for each is some pixels' and takes a division.
 */
extern "C" __global__ void __launch_bounds__(TAKING) less_weighted_mean(
    const float *image, const float *weight, int rows, int columns,
    const float *means, int high, int wide, int stride, /* (2, high, wide) */
    float *result)
{
    __shared__ float ratios[2][STRIP_CELLS];
    int strips = (columns + STRIP - 1) / STRIP, begin = blockIdx.x % strips * STRIP;
    int row = blockIdx.x / strips, end = min(begin + STRIP, columns);
    Between down = cells_of(stride, high).at(row);
    Cells cells = cells_of(stride, wide);
    int left = cells.at(begin).lower;
    int number = min(cells.at(end - 1).lower + 2 - left, STRIP_CELLS);
    for (int side = 0; side < 2; side++)
        for (int k = threadIdx.x; k < number; k += blockDim.x) {
            int place = min(down.lower + side, high - 1) * wide + min(left + k, wide - 1);
            ratios[side][k] = means[place] / fmaxf(means[high * wide + place], 1e-12f);
        }
    __syncthreads();
    long long line = (long long)row * columns;
    for (int first = begin + threadIdx.x; first < end; first += PIXELS * blockDim.x) {
        float value[PIXELS], worth[PIXELS];
        for (int k = 0; k < PIXELS; k++) {
            int column = min(first + k * (int)blockDim.x, end - 1);
            value[k] = image[line + column];
            worth[k] = weight[line + column];
        }
        for (int k = 0; k < PIXELS; k++) {
            int column = first + k * (int)blockDim.x;
            Between across = cells.at(min(column, end - 1));
            Corner here = {across.lower - left, 1, STRIP_CELLS, across.part, down.part};
            float mean = here.of(ratios[0]);
            if (column < end)
                result[line + column] = (value[k] - mean) * worth[k];
        }
    }
}

/* A residual without what was drawn, whose local mean is in the periodic part; a block to a strip of a
 * row, a thread to PIXELS of its pixels. */
extern "C" __global__ void without_drawn(
    const float *residual, const fixed *drawn, int rows, int columns,
    const float *means, int high, int wide, int stride, float *result)
{
    int strips = (columns + STRIP - 1) / STRIP, row = blockIdx.x / strips;
    int begin = blockIdx.x % strips * STRIP + threadIdx.x;
    if (row >= rows)
        return;
    Between down = cells_of(stride, high).at(row);
    Cells across = cells_of(stride, wide);
    long long line = (long long)row * columns;
    float value[PIXELS];
    fixed taken[PIXELS];
    for (int k = 0; k < PIXELS; k++) {
        int column = min(begin + k * TAKING, columns - 1);
        value[k] = residual[line + column];
        taken[k] = drawn[line + column];
    }
    for (int k = 0; k < PIXELS; k++) {
        int column = begin + k * TAKING;
        Between here = across.at(min(column, columns - 1));
        float mean = corner_of(down, here, high, wide).of(means);
        if (column < columns)
            result[line + column] = value[k] - ((float)from_fixed(taken[k]) - mean);
    }
}
