/* The periodic part of a frame, around the two Fourier transforms that it takes.
 *
 * Twins: periodic.bragg_filter, and what labelling.label does with its result. Maps of cells are
 * enlarged pixel by pixel, in the order of sums of sampling.bilinear.
 */

#include "cells.cuh"

/* The image less its local mean, weighted where there are holes; one thread to a pixel. */
extern "C" __global__ void levelled(
    const float *image, int rows, int columns,
    const float *means, int maps, int high, int wide, int stride, /* (maps, high, wide) */
    float *result)
{
    long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= (long long)rows * columns)
        return;
    int row = (int)(index / columns), column = (int)(index % columns);
    float value = image[index] - enlarged(means, high, wide, stride, row, column);
    if (maps > 1)
        value *= enlarged(means + high * wide, high, wide, stride, row, column);
    result[index] = value;
}

/* An image continued along one axis (0 rows, 1 columns) by translations; one thread to a pixel.
 *
 * Of the four vectors the first two lead inwards from before the image, for the first and the second
 * half along the other axis, the others from behind it. Twin: extension.extend.
 */
extern "C" __global__ void extended(
    const float *image, int rows, int columns, int axis, int before, int longer,
    const int *steps,     /* (4, 2): whole pixels along rows and columns to the first of four taps */
    const float *weights, /* (4, 2, 4): of the taps along each */
    float *result)
{
    int high = axis == 0 ? longer : rows, wide = axis == 1 ? longer : columns;
    long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= (long long)high * wide)
        return;
    int place[2] = {(int)(index / wide), (int)(index % wide)}, sides[2] = {rows, columns};
    place[axis] -= before;
    if (place[axis] >= 0 && place[axis] < sides[axis]) {
        result[index] = image[(long long)place[0] * columns + place[1]];
        return;
    }
    int which = (place[axis] < 0 ? 0 : 2) + (place[1 - axis] < sides[1 - axis] / 2 ? 0 : 1);
    const float *along = weights + 8 * which + 4 * axis, *aside = weights + 8 * which + 4 * (1 - axis);
    double total = 0.0;
    for (int k = 0; k < 4; k++) {
        double line = 0.0;
        int tap[2];
        int beside = place[1 - axis] + steps[2 * which + 1 - axis] + k;
        tap[1 - axis] = min(max(beside, 0), sides[1 - axis] - 1);
        for (int j = 0; j < 4; j++) {
            tap[axis] = min(max(place[axis] + steps[2 * which + axis] + j, 0), sides[axis] - 1);
            line += (double)image[(long long)tap[0] * columns + tap[1]] * along[j];
        }
        total += (double)(float)line * aside[k];
    }
    result[index] = (float)total;
}

/* A half spectrum times the sum of Gaussians at all nodes, at most 1; one thread to a bin. */
extern "C" __global__ void nodes_passed(
    float *spectrum, int rows, int columns,             /* (rows, columns, 2) */
    const float *down, const float *across, int number) /* (rows, number), (number, columns) */
{
    long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= (long long)rows * columns)
        return;
    const float *a = down + index / columns * number, *b = across + index % columns;
    float sum = 0.0f;
    for (int k = 0; k < number; k++)
        sum += a[k] * b[(long long)k * columns];
    sum = fminf(sum, 1.0f);
    spectrum[2 * index] *= sum;
    spectrum[2 * index + 1] *= sum;
}

/* Periodic part, residual, and which pixels are in a hole; one thread to a pixel. */
extern "C" __global__ void rebuilt(
    const float *filtered, int wide_columns, int top, int left, /* continued beyond the frame */
    const float *image, int rows, int columns,
    const float *means, int maps, int high, int wide, int stride, float least_cover,
    const float *empty, int any, /* (high, wide): 1 in holes */
    float *periodic, float *residual, char *hole)
{
    long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= (long long)rows * columns)
        return;
    int row = (int)(index / columns), column = (int)(index % columns), cells = high * wide;
    float value = filtered[(long long)(row + top) * wide_columns + column + left];
    if (maps > 1)
        value /= fmaxf(enlarged(means + 2 * cells, high, wide, stride, row, column), least_cover);
    value += enlarged(means, high, wide, stride, row, column);
    periodic[index] = value;
    residual[index] = image[index] - value;
    hole[index] = any && enlarged(empty, high, wide, stride, row, column) > 0.5f;
}
