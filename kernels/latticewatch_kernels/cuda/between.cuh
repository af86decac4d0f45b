/* Places between the centres of equal cells along an axis. Twins: order.enlarge, conditioning. */

#include "neighbours.cuh"

/* The cell before a place, and the part that the next one has. */
struct Between {
    int lower;
    float part;
};

/* Cells of some pixels along an axis; beyond the centres of the outermost all is as there. */
struct Cells {
    int size, number;
    float inverse; /* of twice the size */

    /* In whole halves of a pixel, so that single precision does, for an axis of less than 2^20. */
    __device__ Between at(int pixel) const
    {
        int way = min(max(2 * pixel + 1 - size, 0), 2 * size * (number - 1));
        int lower = min((int)((way + 0.5f) * inverse), max(number - 2, 0));
        return {lower, (way - 2 * size * lower) * inverse};
    }
};

__device__ static inline Cells cells_of(int size, int number)
{
    return {size, number, 1.0f / (2 * size)};
}

/* A place between the centres of cells along both axes: what all maps of these share. */
struct Corner {
    int place, right, down;
    float u, v;

    __device__ float of(const float *cells) const
    {
        const float *here = cells + place;
        float upper = here[0] * (1.0f - u) + here[right] * u;
        float lower = here[down] * (1.0f - u) + here[down + right] * u;
        return upper * (1.0f - v) + lower * v;
    }
};

__device__ static inline Corner corner_of(Between down, Between across, int high, int wide)
{
    return {down.lower * wide + across.lower, wide > 1 ? 1 : 0, high > 1 ? wide : 0,
            across.part, down.part};
}

/* Those of a thread's neighbouring pixels. They are known before a map is read, so that a thread asks for
 * what it reads of all of them at once. Beyond the last row all is as there. */
struct Corners {
    Corner of[NEIGHBOURS];
};

__device__ static inline Corners corners_of(Pixel at, int columns, Cells down, Cells across)
{
    Corners corners;
    Between row = down.at(at.row);
    if (at.column + NEIGHBOURS <= columns) {
        for (int j = 0; j < NEIGHBOURS; j++)
            corners.of[j] = corner_of(row, across.at(at.column + j), down.number, across.number);
        return corners;
    }
    for (int j = 0; j < NEIGHBOURS; j++, at.next(columns))
        corners.of[j] = corner_of(
            down.at(at.row), across.at(at.column), down.number, across.number);
    return corners;
}
