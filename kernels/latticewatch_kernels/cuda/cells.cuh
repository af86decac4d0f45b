/* Value of a map of cells at a pixel, as order.enlarge has it; at(place) gives that of a cell. */
template <class At>
__device__ static inline float between_cells(At at, int high, int wide, int stride, int row, int column)
{
    float y = (float)min(max((row + 0.5) / stride - 0.5, 0.0), high - 1.0);
    float x = (float)min(max((column + 0.5) / stride - 0.5, 0.0), wide - 1.0);
    int top = min((int)y, max(high - 2, 0)), left = min((int)x, max(wide - 2, 0));
    float v = y - top, u = x - left;
    int corner = top * wide + left, right = wide > 1 ? 1 : 0, down = high > 1 ? wide : 0;
    float upper = at(corner) * (1.0f - u) + at(corner + right) * u;
    float lower = at(corner + down) * (1.0f - u) + at(corner + down + right) * u;
    return upper * (1.0f - v) + lower * v;
}

__device__ static inline float enlarged(
    const float *cells, int high, int wide, int stride, int row, int column)
{
    return between_cells([=](int place) { return cells[place]; }, high, wide, stride, row, column);
}

/* The same of the ratio of two maps. */
__device__ static inline float enlarged_ratio(
    const float *sums, const float *totals, int high, int wide, int stride, int row, int column)
{
    auto ratio = [=](int place) { return sums[place] / fmaxf(totals[place], 1e-12f); };
    return between_cells(ratio, high, wide, stride, row, column);
}
