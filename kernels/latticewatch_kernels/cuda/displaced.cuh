/* How far the crystal is displaced at a point. Twin: order.OrderMap.displacement_at. */

#include "points.cuh"

__device__ static inline void displaced(
    const float *displacement, int high, int wide, /* (2, high, wide), along x and y */
    double stride, double x, double y,             /* pixels to a cell, and the point in pixels */
    double *moved)
{
    float across = (float)((x + 0.5) / stride - 0.5), along = (float)((y + 0.5) / stride - 0.5);
    for (int axis = 0; axis < 2; axis++)
        moved[axis] = bilinear_at(displacement + axis * high * wide, high, wide, across, along);
}
