/* Logits of a map of probabilities. Twin: segmentation.Segmentation.logit_at. */

#include "points.cuh"

/* Logarithm of the odds of a probability, which is read no nearer to 0 and 1 than `surest`. */
__device__ static inline float logit(float heat, float surest)
{
    heat = fminf(fmaxf(heat, surest), 1.0f - surest);
    return (float)log((double)(heat / (1.0f - heat)));
}

/* Logit between cells, bilinear; beyond the map its edge is repeated. */
__device__ static inline float logit_at(
    const float *heat, int rows, int columns, float surest, float x, float y)
{
    float across = inside(x, columns), along = inside(y, rows);
    int left = min((int)across, max(columns - 2, 0)), top = min((int)along, max(rows - 2, 0));
    float corners[4], u = across - left, v = along - top;
    for (int k = 0; k < 4; k++) {
        int row = min(top + k / 2, rows - 1), column = min(left + k % 2, columns - 1);
        corners[k] = logit(heat[(long long)row * columns + column], surest);
    }
    float upper = corners[0] * (1.0f - u) + corners[1] * u;
    float lower = corners[2] * (1.0f - u) + corners[3] * u;
    return upper * (1.0f - v) + lower * v;
}
