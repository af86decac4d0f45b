/* Values of an image between its pixels: bilinear, and by cubic convolution.
 *
 * Beyond the frame its edge value is repeated; a place that is none is read at the edge.
 */

#ifndef POINTS /* what several headers include */
#define POINTS

__device__ static inline float inside(float place, int size)
{
    return fminf(fmaxf(place, 0.0f), (float)(size - 1));
}

__device__ static inline float bilinear_at(const float *image, int rows, int columns, float x, float y)
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

/* Weights of the samples at -1, 0, 1 and 2 for a place t in [0, 1). */
__device__ static inline void cubic_weights(float t, float *weights)
{
    float t2 = t * t, t3 = t2 * t;
    weights[0] = -0.5f * t3 + t2 - 0.5f * t;
    weights[1] = 1.5f * t3 - 2.5f * t2 + 1.0f;
    weights[2] = -1.5f * t3 + 2.0f * t2 + 0.5f * t;
    weights[3] = 0.5f * t3 - 0.5f * t2;
}

__device__ static inline float cubic_at(const float *image, int rows, int columns, float x, float y)
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

#endif
