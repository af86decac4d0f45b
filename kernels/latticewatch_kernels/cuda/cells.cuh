/* Value of a map of cells at a pixel, as order.enlarge has it. */
__device__ static float enlarged(const float *cells, int high, int wide, int stride, int row, int column)
{
    float y = (float)min(max((row + 0.5) / stride - 0.5, 0.0), high - 1.0);
    float x = (float)min(max((column + 0.5) / stride - 0.5, 0.0), wide - 1.0);
    int top = min((int)y, max(high - 2, 0)), left = min((int)x, max(wide - 2, 0));
    float v = y - top, u = x - left;
    const float *corner = cells + top * wide + left;
    int right = wide > 1 ? 1 : 0, down = high > 1 ? wide : 0;
    float upper = corner[0] * (1.0f - u) + corner[right] * u;
    float lower = corner[down] * (1.0f - u) + corner[down + right] * u;
    return upper * (1.0f - v) + lower * v;
}
