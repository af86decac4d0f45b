/* Values of an image between its pixels; one thread to a sample.
 *
 * Twins: sampling.bilinear, sampling.cubic, patches.lattice_patches, columns.intensity_beside and
 * segmentation.Segmentation.logit_at. The same operations in the same order and precision (but for
 * the logarithms of the last), so that results are the same to the last bit where multiply and add
 * are not contracted. Beyond the frame its edge value is repeated.
 */

__device__ static float inside(float place, int size)
{
    return fminf(fmaxf(place, 0.0f), (float)(size - 1));
}

__device__ static float bilinear_at(const float *image, int rows, int columns, float x, float y)
{
    x = inside(x, columns);
    y = inside(y, rows);
    int left = min((int)x, max(columns - 2, 0)), top = min((int)y, max(rows - 2, 0));
    float u = x - left, v = y - top;
    const float *corner = image + (long long)top * columns + left;
    int right = columns > 1 ? 1 : 0, down = rows > 1 ? columns : 0;
    float upper = corner[0] * (1.0f - u) + corner[right] * u;
    float lower = corner[down] * (1.0f - u) + corner[down + right] * u;
    return upper * (1.0f - v) + lower * v;
}

extern "C" __global__ void bilinear(
    const float *image, int rows, int columns,
    const float *x, const float *y, int count, /* (count): pixels */
    float *values)                             /* (count) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index < count)
        values[index] = bilinear_at(image, rows, columns, x[index], y[index]);
}

/* Logarithm of the odds of a probability, which is read no nearer to 0 and 1 than `surest`. */
__device__ static float logit(float heat, float surest)
{
    heat = fminf(fmaxf(heat, surest), 1.0f - surest);
    return (float)log((double)(heat / (1.0f - heat)));
}

/* Logits of a heat map between its cells, bilinear. */
extern "C" __global__ void logits(
    const float *heat, int rows, int columns, float surest,
    const float *x, const float *y, int count, /* (count): cells */
    float *values)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= count)
        return;
    float across = inside(x[index], columns), along = inside(y[index], rows);
    int left = min((int)across, max(columns - 2, 0)), top = min((int)along, max(rows - 2, 0));
    float corners[4], u = across - left, v = along - top;
    for (int k = 0; k < 4; k++) {
        int row = min(top + k / 2, rows - 1), column = min(left + k % 2, columns - 1);
        corners[k] = logit(heat[(long long)row * columns + column], surest);
    }
    float upper = corners[0] * (1.0f - u) + corners[1] * u;
    float lower = corners[2] * (1.0f - u) + corners[3] * u;
    values[index] = upper * (1.0f - v) + lower * v;
}

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
    patches[index] = bilinear_at(image, rows, columns, x, y);
}

/* Weights of the samples at -1, 0, 1 and 2 for a place t in [0, 1). */
__device__ static void cubic_weights(float t, float *weights)
{
    float t2 = t * t, t3 = t2 * t;
    weights[0] = -0.5f * t3 + t2 - 0.5f * t;
    weights[1] = 1.5f * t3 - 2.5f * t2 + 1.0f;
    weights[2] = -1.5f * t3 + 2.0f * t2 + 0.5f * t;
    weights[3] = 0.5f * t3 - 0.5f * t2;
}

__device__ static float cubic_at(const float *image, int rows, int columns, float x, float y)
{
    float across[4], down[4];
    float column = inside(x, columns), row = inside(y, rows);
    int left = (int)column, top = (int)row;
    cubic_weights(column - left, across);
    cubic_weights(row - top, down);
    float total = 0.0f;
    for (int i = 0; i < 4; i++) {
        const float *pixels = image + (long long)min(max(top + i - 1, 0), rows - 1) * columns;
        float line = 0.0f;
        for (int j = 0; j < 4; j++)
            line += across[j] * pixels[min(max(left + j - 1, 0), columns - 1)];
        total += down[i] * line;
    }
    return total;
}

extern "C" __global__ void cubic(
    const float *image, int rows, int columns,
    const float *x, const float *y, int count, /* (count): pixels */
    float *values)                             /* (count) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index < count)
        values[index] = cubic_at(image, rows, columns, x[index], y[index]);
}

/* Intensity of columns: a site's value less what its six nearest add to it. */
extern "C" __global__ void site_intensity(
    const float *image, int rows, int columns,
    const float *x, const float *y,           /* (count, 7): pixels, the site first */
    const double *host, const double *offset, /* (count) */
    double unit, double crosstalk, int count,
    float *values)                            /* (count) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= count)
        return;
    double own = 0.0, around = 0.0;
    for (int k = 0; k < 7; k++) {
        int at = 7 * index + k;
        double value = (double)cubic_at(image, rows, columns, x[at], y[at]) * unit;
        if (k == 0)
            own = value;
        else
            around += value;
    }
    double deviation = (own - crosstalk * around) / (1.0 - 6.0 * crosstalk * crosstalk);
    values[index] = (float)(host[index] + deviation - offset[index]);
}
