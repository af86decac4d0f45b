/* Cells of a map that are looked for, compacted into a buffer of fixed size; one thread to a cell.
 *
 * Twins: localisation.decode_heat_map and localisation.maxima_around. Values are copied, not
 * computed, so that they are the twins' to the last bit. Entries come in any order; `number` counts
 * those that found no room, too, so that the caller sees when the buffer was too small.
 */

/* Cells at or above a threshold, with the two offsets that they give. */
extern "C" __global__ void cells_above(
    const float *heat, const float *offset, /* (cells), (2, cells) */
    int cells, float threshold, int room,
    int *number, int *place, float *said)   /* one, (room), (room, 3) */
{
    int cell = blockIdx.x * blockDim.x + threadIdx.x;
    if (cell >= cells || !(heat[cell] >= threshold))
        return;
    int slot = atomicAdd(number, 1);
    if (slot >= room)
        return;
    place[slot] = cell;
    said[3 * slot] = heat[cell];
    said[3 * slot + 1] = offset[cell];
    said[3 * slot + 2] = offset[cells + cell];
}

/* Index of a neighbour beyond the border: mirrored about the last cell. */
__device__ static int mirrored(int place, int size)
{
    int last = size - 1;
    return max(last - abs(last - abs(place)), 0);
}

/* Local maxima of `judged` with the 3 x 3 values of `shown` around them.
 *
 * Of equals that touch the first in reading order is the maximum. In the half plane of a real
 * image's spectrum rows go on at the other end, and columns are mirrored about frequency 0.
 */
extern "C" __global__ void local_maxima(
    const float *judged, const float *shown, int rows, int columns, int half_plane,
    float threshold, int room,
    int *number, int *place, float *said) /* one, (room), (room, 10) */
{
    int cell = blockIdx.x * blockDim.x + threadIdx.x;
    if (cell >= rows * columns || !(judged[cell] >= threshold))
        return;
    int row = cell / columns, column = cell % columns;
    for (int k = 0; k < 9; k++) {
        int y = row + k / 3 - 1, x = column + k % 3 - 1;
        if (k == 4 || y < 0 || y >= rows || x < 0 || x >= columns)
            continue;
        float other = judged[y * columns + x];
        if (k < 4 ? other >= judged[cell] : other > judged[cell])
            return;
    }
    int slot = atomicAdd(number, 1);
    if (slot >= room)
        return;
    place[slot] = cell;
    said[10 * slot] = judged[cell];
    for (int k = 0; k < 9; k++) {
        int y = row + k / 3 - 1, x = column + k % 3 - 1;
        y = half_plane ? (y + rows) % rows : mirrored(y, rows);
        x = half_plane ? min(abs(x), columns - 1) : mirrored(x, columns);
        said[10 * slot + 1 + k] = shown[y * columns + x];
    }
}
