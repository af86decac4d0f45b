/* The periodic part of a frame, around the two Fourier transforms that it takes.
 *
 * Twins: periodic.bragg_filter, and what labelling.label does with its result. Maps of cells are
 * enlarged pixel by pixel, in the order of sums of sampling.bilinear. Where the facts know of no hole
 * the weights of all cells are 1, and are not looked at.
 */

#include "between.cuh"
#include "facts.cuh"
#include "selection.cuh"

#define NODES 64 /* most at which a spectrum is passed; there are 42 of six shells */
#define TAPS 4   /* of cubic convolution along an axis */

/* The image less its local mean, weighted where there are holes, put into the middle of a larger one;
 * a thread to neighbouring pixels. */
extern "C" __global__ void levelled(
    const double *facts, const float *image, int rows, int columns,
    const float *means, int high, int wide, int stride, /* (at least 2, high, wide) */
    int top, int left, int wide_columns, float *whole)
{
    long long first = first_neighbour();
    int here = neighbours_here(first, (long long)rows * columns);
    if (here <= 0)
        return;
    Pixel at = pixel_at(first, columns);
    bool holes = facts[FACT_HOLES] > 0.0;
    Neighbours<float> pixels = neighbours(image + first, here);
    Corners corners = corners_of(at, columns, cells_of(stride, high), cells_of(stride, wide));
    for (int j = 0; j < NEIGHBOURS; j++)
        pixels.of[j] -= corners.of[j].of(means);
    for (int j = 0; j < NEIGHBOURS && holes; j++)
        pixels.of[j] *= corners.of[j].of(means + high * wide);
    if (at.column + here <= columns) {
        put(whole + (long long)(at.row + top) * wide_columns + left + at.column, here, pixels);
        return;
    }
    for (int j = 0; j < NEIGHBOURS; j++, at.next(columns))
        if (j < here)
            whole[(long long)(at.row + top) * wide_columns + left + at.column] = pixels.of[j];
}

/* Lines of a half of an image that a thread continues, and that both halves make. */
__device__ static int tiles(int lines) { return (lines + NEIGHBOURS - 1) / NEIGHBOURS; }

/* What is around the middle of an image along one axis (0 rows, 1 columns), by translations of the
 * middle; a thread to a place on neighbouring lines, which share most of their pixels.
 *
 * Of the four vectors the first two lead inwards from before the image, for the first and the second
 * half along the other axis, the others from behind it. Twin: extension.extend.
 */
extern "C" __global__ void extended(
    int axis, int before, int size, int longer, int other, /* along the axis, and across it */
    int begin, int along_step, int aside_step, /* from pixel to pixel; `begin` is the middle's first */
    const int *steps,     /* (4, 2): whole pixels along rows and columns to the first of four taps */
    const float *weights, /* (4, 2, 4): of the taps along each */
    float *whole)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x, around = longer - size;
    int half = other / 2, first_tiles = tiles(half), every = first_tiles + tiles(other - half);
    if (index >= around * every)
        return;
    /* neighbouring threads at neighbouring pixels */
    int tile = axis == 1 ? index / around : index % every;
    int place = axis == 1 ? index % around : index / every;
    bool behind = place >= before, second = tile >= first_tiles;
    place += behind ? size - before : -before;
    int line = second ? half + NEIGHBOURS * (tile - first_tiles) : NEIGHBOURS * tile;
    int end = second ? other : half, which = (behind ? 2 : 0) + (second ? 1 : 0);
    const float *along = weights + 8 * which + 4 * axis, *aside = weights + 8 * which + 4 * (1 - axis);
    int step = place + steps[2 * which + axis], beside = line + steps[2 * which + 1 - axis];
    float *middle = whole + begin;
    float taps[TAPS];
    for (int k = 0; k < TAPS; k++)
        taps[k] = along[k];
    double total[NEIGHBOURS] = {0.0, 0.0, 0.0, 0.0};
    #pragma unroll
    for (int i = 0; i < NEIGHBOURS + TAPS - 1; i++) {
        const float *from = middle + (long long)min(max(beside + i, 0), other - 1) * aside_step;
        double sum = 0.0;
        for (int j = 0; j < TAPS; j++)
            sum += (double)from[(long long)min(max(step + j, 0), size - 1) * along_step] * taps[j];
        for (int own = 0; own < NEIGHBOURS; own++)
            if (i >= own && i < own + TAPS)
                total[own] += (double)(float)sum * aside[i - own];
    }
    for (int own = 0; own < NEIGHBOURS; own++)
        if (line + own < end)
            middle[(long long)(line + own) * aside_step + (long long)place * along_step] =
                (float)total[own];
}

/* A half spectrum times the sum of Gaussians at all nodes, at most 1, and a factor; a block to a row.
 *
 * Few nodes reach a row, and few bins of it: what none reaches is 0 and need not be read. */
extern "C" __global__ void __launch_bounds__(TOGETHER) nodes_passed(
    float *spectrum, int columns,                       /* (rows, columns, 2) */
    const float *down, const float *across, int number, /* (rows, number), (number, columns) */
    float factor)
{
    __shared__ int nodes[NODES];
    __shared__ float weights[NODES];
    int found = 0, row = blockIdx.x;
    number = min(number, NODES);
    for (int begin = 0; begin < number; begin += blockDim.x) {
        int node = begin + threadIdx.x, reach;
        float weight = node < number ? down[row * number + node] : 0.0f;
        int place = found + found_before(weight != 0.0f, &reach);
        if (weight != 0.0f) {
            nodes[place] = node;
            weights[place] = weight;
        }
        found += reach;
    }
    __syncthreads();
    Bin *bins = (Bin *)spectrum + (long long)row * columns;
    for (int column = threadIdx.x; column < columns; column += blockDim.x) {
        float sum = 0.0f;
        for (int k = 0; k < found; k++)
            sum += weights[k] * across[nodes[k] * columns + column];
        Bin bin = {0.0f, 0.0f};
        if (sum != 0.0f) {
            bin = bins[column];
            sum = fminf(sum, 1.0f) * factor;
            bin = {bin.real * sum, bin.imaginary * sum};
        }
        bins[column] = bin;
    }
}

/* Periodic part, residual, and which pixels are in a hole; a thread to neighbouring pixels. */
extern "C" __global__ void rebuilt(
    const double *facts,
    const float *filtered, int wide_columns, int top, int left, /* continued beyond the frame */
    const float *image, int rows, int columns,
    const float *means, int high, int wide, int stride, float least_cover, /* (4, high, wide) */
    float *periodic, float *residual, char *hole)
{
    long long first = first_neighbour();
    int here = neighbours_here(first, (long long)rows * columns), cells = high * wide;
    if (here <= 0)
        return;
    Pixel at = pixel_at(first, columns);
    bool holes = facts[FACT_HOLES] > 0.0;
    Neighbours<float> left_over, values;
    Neighbours<char> empty = {{0, 0, 0, 0}};
    const float *from = filtered + (long long)(at.row + top) * wide_columns + left + at.column;
    fetch(here, image + first, left_over, from, values);
    if (at.column + here > columns) { /* to where the next rows go on, which are farther */
        int further = wide_columns - columns;
        for (int j = 0, column = at.column; j < NEIGHBOURS; j++, column++)
            values.of[j] = from[j < here ? j + column / columns * further : 0];
    }
    Corners corners = corners_of(at, columns, cells_of(stride, high), cells_of(stride, wide));
    for (int j = 0; j < NEIGHBOURS && holes; j++) {
        values.of[j] /= fmaxf(corners.of[j].of(means + 2 * cells), least_cover);
        empty.of[j] = corners.of[j].of(means + 3 * cells) > 0.5f;
    }
    for (int j = 0; j < NEIGHBOURS; j++)
        values.of[j] += corners.of[j].of(means);
    for (int j = 0; j < NEIGHBOURS; j++)
        left_over.of[j] -= values.of[j];
    put(periodic + first, here, values);
    put(residual + first, here, left_over);
    put(hole + first, here, empty);
}
