/* Samples of an image around points, bilinear; one thread to a sample.
 *
 * Twin: patches.lattice_patches with sampling.bilinear. The same operations in the same order and
 * precision (places rounded to float, weights in double), so that the result is the same to the
 * last bit where multiply and add are not contracted.
 */
extern "C" __global__ void lattice_patches(
    const float *image, int rows, int columns,
    const double *points,  /* (count, 2): x, y in pixels */
    const int *turns,      /* (count): which offsets a point takes */
    const double *offsets, /* (turns, samples, 2): x, y in pixels */
    int count, int samples,
    float *patches)        /* (count, samples) */
{
    long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= (long long)count * samples)
        return;
    int point = (int)(index / samples), sample = (int)(index % samples);
    const double *offset = offsets + 2 * ((long long)turns[point] * samples + sample);
    float x = (float)(points[2 * point] + offset[0]);
    float y = (float)(points[2 * point + 1] + offset[1]);

    /* beyond the frame its edge value is repeated */
    x = fminf(fmaxf(x, 0.0f), (float)(columns - 1));
    y = fminf(fmaxf(y, 0.0f), (float)(rows - 1));
    int left = min((int)x, max(columns - 2, 0)), top = min((int)y, max(rows - 2, 0));
    double u = (double)x - left, v = (double)y - top;
    const float *corner = image + (long long)top * columns + left;
    int right = columns > 1 ? 1 : 0, down = rows > 1 ? columns : 0;
    double upper = corner[0] * (1.0 - u) + corner[right] * u;
    double lower = corner[down] * (1.0 - u) + corner[down + right] * u;
    patches[index] = (float)(upper * (1.0 - v) + lower * v);
}
