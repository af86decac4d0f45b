/* Values of a map of cells at pixels, as order.enlarge has them. */

/* Where a pixel lies between the centres of cells along an axis, edges repeated: the cell before it,
 * how far on the next one is, and the part of the way there. */
struct Placed {
    int first, next;
    float part;
};

/* The quotient of two whole numbers in single precision is what double precision rounds to. */
__device__ static inline Placed placed(int pixel, int stride, int count)
{
    float place = (float)(2 * pixel + 1 - stride) / (float)(2 * stride);
    place = fminf(fmaxf(place, 0.0f), (float)(count - 1));
    int first = min((int)place, max(count - 2, 0));
    return {first, count > 1 ? 1 : 0, place - first};
}

/* Value there; at(row, column) gives that of a cell. */
template <class At>
__device__ static inline float between_cells(At at, const Placed &down, const Placed &across)
{
    float u = across.part, v = down.part;
    int top = down.first, bottom = top + down.next, left = across.first, right = left + across.next;
    float upper = at(top, left) * (1.0f - u) + at(top, right) * u;
    float lower = at(bottom, left) * (1.0f - u) + at(bottom, right) * u;
    return upper * (1.0f - v) + lower * v;
}

__device__ static inline float enlarged(
    const float *cells, int high, int wide, int stride, int row, int column)
{
    return between_cells([=](int y, int x) { return cells[y * wide + x]; }, placed(row, stride, high),
        placed(column, stride, wide));
}
