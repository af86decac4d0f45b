/* Gaussian columns on squares of 2 half + 1 pixels around points, and sums of an image over them.
 *
 * Twin: stamps.stamps and stamps.Stamps. Heights are computed in double and rounded once, as there;
 * CUDA's exp is within one unit in the last place of a double, so that a height differs by one unit
 * in the last place of a float, and that seldom. Sums run in float from left to right, where
 * the twin's order is the linear algebra library's.
 */

/* Heights along both axes; one thread to a pixel of a side. */
extern "C" __global__ void stamp_heights(
    const double *points,        /* (count, 2): x, y in pixels */
    int count, int half, double sigma, int rows, int columns,
    float *down, float *across)  /* (count, 2 half + 1) */
{
    int side = 2 * half + 1;
    long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= (long long)count * side)
        return;
    int point = (int)(index / side), step = (int)(index % side) - half;
    for (int axis = 0; axis < 2; axis++) {
        double centre = points[2 * point + axis];
        int pixel = (int)rint(centre) + step, size = axis == 0 ? columns : rows;
        double distance = (pixel - centre) / sigma;
        float height = (float)exp(-0.5 * (distance * distance));
        (axis == 0 ? across : down)[index] = pixel < 0 || pixel >= size ? 0.0f : height;
    }
}

/* Sums of image times column along each line of the squares; one thread to a line. */
extern "C" __global__ void stamp_lines(
    const float *image, int rows, int columns,
    const double *points,                    /* (count, 2): x, y in pixels */
    int count, int side,
    const float *down, const float *across,  /* (count, side) */
    float *lines)                            /* (count, side) */
{
    long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= (long long)count * side)
        return;
    int point = (int)(index / side), line = (int)(index % side);
    int row = (int)rint(points[2 * point + 1]) - side / 2 + line;
    int first = (int)rint(points[2 * point]) - side / 2;
    /* outside of the frame heights are 0: the nearest pixel inside stands in */
    const float *pixels = image + (long long)min(max(row, 0), rows - 1) * columns;
    const float *height = across + (long long)point * side;
    float sum = 0.0f;
    for (int k = 0; k < side; k++)
        sum += pixels[min(max(first + k, 0), columns - 1)] * height[k];
    lines[index] = sum * down[index];
}

/* Add columns of given heights to an image; one thread to a pixel of a square.
 *
 * Pixels are summed in double and rounded afterwards, since threads add in any order.
 */
extern "C" __global__ void draw_stamps(
    const double *points, const float *heights, /* (count, 2), (count) */
    int count, int side,
    const float *down, const float *across,     /* (count, side) */
    double *image, int rows, int columns)
{
    long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= (long long)count * side * side)
        return;
    int line = (int)(index / side), k = (int)(index % side), point = line / side;
    int row = (int)rint(points[2 * point + 1]) - side / 2 + line % side;
    int column = (int)rint(points[2 * point]) - side / 2 + k;
    if (row < 0 || row >= rows || column < 0 || column >= columns)
        return;
    float part = down[line] * across[(long long)point * side + k] * heights[point];
    atomicAdd(image + (long long)row * columns + column, (double)part);
}
