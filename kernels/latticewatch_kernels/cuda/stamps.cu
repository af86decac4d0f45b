/* Gaussian columns on squares of pixels around points: sums of an image over them, and drawing.
 *
 * Twin: stamps.stamps, stamps.Stamps and stamps.draw. Heights are computed as there, but for the
 * exponential, which is taken in double and rounded once, so that its error is the twin's alone. Sums run in float from left to right, where the twin's order is
 * the linear algebra library's. Squares lie inside the frame.
 */

/* Heights along one axis (0: x, 1: y), and the first pixel; one thread to a pixel of a side. */
extern "C" __global__ void stamp_heights(
    const double *points, /* (count, 2): x, y in pixels */
    int axis, int count, int half, int side, float scale, int size,
    int *first,           /* (count) */
    float *heights)       /* (count, side) */
{
    long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= (long long)count * side)
        return;
    int point = (int)(index / side), step = (int)(index % side);
    double centre = points[2 * point + axis];
    int nearest = (int)rint(centre), begin = min(max(nearest - half, 0), size - side);
    if (step == 0)
        first[point] = begin;
    float distance = (float)(begin - centre) + (float)step;
    /* where the square was moved inwards, what lies beyond the column's reach counts as nothing */
    bool far = abs(begin - nearest + step) > half;
    heights[index] = far ? 0.0f : (float)exp((double)(distance * distance * scale));
}

/* Sums of image times column along each line of the squares; one thread to a line. */
extern "C" __global__ void stamp_lines(
    const float *image, int columns,
    const int *row, const int *column,      /* (count): first pixel of each square */
    int count, int high, int wide,
    const float *down, const float *across, /* (count, high), (count, wide) */
    float *lines)                           /* (count, high) */
{
    long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= (long long)count * high)
        return;
    int point = (int)(index / high), line = (int)(index % high);
    const float *pixels = image + (long long)(row[point] + line) * columns + column[point];
    const float *height = across + (long long)point * wide;
    float sum = 0.0f;
    for (int k = 0; k < wide; k++)
        sum += pixels[k] * height[k];
    lines[index] = sum * down[index];
}

/* Add columns of given heights to an image; one thread to a pixel of a square.
 *
 * Pixels are summed in double and rounded afterwards, since threads add in any order.
 */
extern "C" __global__ void draw_stamps(
    const float *heights,                   /* (count) */
    const int *row, const int *column,      /* (count): first pixel of each square */
    int count, int high, int wide,
    const float *down, const float *across, /* (count, high), (count, wide) */
    double *image, int columns)
{
    long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= (long long)count * high * wide)
        return;
    int k = (int)(index % wide), line = (int)(index / wide), point = line / high;
    float part = down[line] * across[(long long)point * wide + k] * heights[point];
    long long place = (long long)(row[point] + line % high) * columns + column[point] + k;
    atomicAdd(image + place, (double)part);
}
