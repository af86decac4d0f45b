/* Amplitudes of an image at the nodes of a reciprocal lattice, and Newton's steps towards the lattice.
 *
 * Twins: harmonics.fit_reciprocal and harmonics.measure_harmonics. All is in double precision but for the
 * waves along y and the products with them, as the twin's are.
 */

#define SHARES 16  /* threads to a column of a node: each folds every so many rows */
#define JOINED 4   /* of them to a block, which adds up what they have */
#define KEPT (SHARES / JOINED)
#define NODES 3    /* that a thread folds the image with: a pixel is read once for all of them, */
#define BESIDE 4   /* in so many columns: and a wave once for these */
#define STRIP 32   /* threads to a share of a block */
#define FOLDING (STRIP * JOINED)
#define AT_ONCE 8  /* rows that a thread has under way */
#define LANES 256  /* threads to a node */
#define LEVELS 8   /* into which the sums of lanes are parted before they are added up */
#define SUMS 14    /* numbers of a lane: seven complex sums */
#define MOST 64    /* nodes */
#define TERMS 7    /* of the least squares that a step takes: of its matrix, and of its right side */
#define TAU 6.283185307179586

/* Waves at a row, which are read at once: real plain, real moment, then the imaginary ones. */
struct alignas(16) Parts {
    float part[4];
};

/* Window times exp(-2 pi i f k) at a place along an axis: real and imaginary part. */
struct alignas(16) Wave {
    double part[2];
};

__device__ static double node(const double *reciprocal, const int *indices, int which, int axis)
{
    return indices[2 * which] * reciprocal[axis] + indices[2 * which + 1] * reciprocal[2 + axis];
}

__device__ static inline double from_middle(int place, int size)
{
    return place - 0.5 * (size - 1);
}

/* Waves of the nodes along both axes, and those along y as the image is folded with them; a thread to
 * a row or a column of a node. */
extern "C" __global__ void waves(
    const double *reciprocal, const int *indices, int nodes, /* (2, 2), (nodes, 2) */
    const double *row_window, const double *column_window, int rows, int columns,
    double *plain, float *parts) /* (nodes, rows + columns, 2), (nodes, rows, 4) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= nodes * (rows + columns))
        return;
    int which = index / (rows + columns), place = index % (rows + columns);
    bool down = place < rows;
    place -= down ? 0 : rows;
    double real, imaginary, window = (down ? row_window : column_window)[place];
    sincos(-TAU * node(reciprocal, indices, which, down) * place, &imaginary, &real);
    Wave wave = {{window * real, window * imaginary}};
    ((Wave *)plain)[index] = wave;
    for (int k = 0; k < 2 && down; k++) {
        float *own = parts + 4 * ((long long)which * rows + place) + 2 * k;
        own[0] = (float)wave.part[k];
        own[1] = (float)(wave.part[k] * from_middle(place, rows));
    }
}

/* Pixels of some rows of a share, from one on, in BESIDE columns; 0 beyond the last row. */
__device__ static void read_rows(
    const float *image, int rows, int columns, int first, int column, float (*value)[BESIDE])
{
    for (int k = 0; k < AT_ONCE; k++)
        for (int j = 0; j < BESIDE; j++) {
            int row = first + k * SHARES, here = min(column + j * STRIP, columns - 1);
            value[k][j] = row < rows ? image[row * columns + here] : 0.0f;
        }
}

/* Sums over a share of the rows of BESIDE columns, STRIP apart, times the waves of NODES nodes.
 *
 * Rows are read while the last ones are folded: there are too few threads for others to fill the wait.
 */
__device__ static void folded_columns(
    const float *image, const Parts *wave, int left, int rows, int columns, int share, int column,
    Parts (*sum)[BESIDE]) /* waves are those of the first node, and of as many as are left after it */
{
    float value[AT_ONCE][BESIDE], next[AT_ONCE][BESIDE];
    read_rows(image, rows, columns, share, column, next);
    for (int first = share; first < rows; first += AT_ONCE * SHARES) {
        for (int k = 0; k < AT_ONCE; k++)
            for (int j = 0; j < BESIDE; j++)
                value[k][j] = next[k][j];
        if (first + AT_ONCE * SHARES < rows)
            read_rows(image, rows, columns, first + AT_ONCE * SHARES, column, next);
        for (int k = 0; k < AT_ONCE; k++)
            for (int node = 0; node < NODES; node++) {
                Parts here = wave[min(node, left) * rows + min(first + k * SHARES, rows - 1)];
                for (int j = 0; j < BESIDE; j++)
                    for (int part = 0; part < 4; part++)
                        sum[node][j].part[part] =
                            fmaf(here.part[part], value[k][j], sum[node][j].part[part]);
            }
    }
}

/* The image folded with the waves; a block to JOINED shares of a strip of columns, for NODES nodes.
 *
 * In single precision, as the twin: to become double takes a number eight times as long as a product
 * (CUDA C++ Programming Guide, arithmetic throughput, compute capability 9.0). A share is short, and
 * what blocks have is summed in double precision.
 */
extern "C" __global__ void __launch_bounds__(FOLDING) folded_image(
    const float *image, const float *parts, int nodes, int rows, int columns,
    float *folded) /* (4, nodes, KEPT, columns) */
{
    __shared__ Parts sums[NODES][JOINED][BESIDE * STRIP];
    int strips = (columns + BESIDE * STRIP - 1) / (BESIDE * STRIP);
    int begin = blockIdx.x % strips * BESIDE * STRIP, part_of = blockIdx.x / strips % KEPT;
    int first = blockIdx.x / strips / KEPT * NODES;
    for (int k = threadIdx.x; k < FOLDING; k += blockDim.x) {
        int share = k / STRIP, lane = k % STRIP;
        Parts sum[NODES][BESIDE] = {};
        folded_columns(image, (const Parts *)parts + (long long)first * rows, nodes - 1 - first, rows,
            columns, part_of * JOINED + share, begin + lane, sum);
        for (int node = 0; node < NODES; node++)
            for (int j = 0; j < BESIDE; j++)
                sums[node][share][j * STRIP + lane] = sum[node][j];
    }
    __syncthreads();
    for (int k = threadIdx.x; k < NODES * BESIDE * STRIP; k += blockDim.x) {
        int node = k / (BESIDE * STRIP), place = k % (BESIDE * STRIP);
        if (first + node >= nodes || begin + place >= columns)
            continue;
        Parts whole = sums[node][0][place];
        for (int share = 1; share < JOINED; share++)
            for (int part = 0; part < 4; part++)
                whole.part[part] += sums[node][share][place].part[part];
        for (int part = 0; part < 4; part++) {
            long long line = ((long long)part * nodes + first + node) * KEPT + part_of;
            folded[line * columns + begin + place] = whole.part[part];
        }
    }
}

/* Add the product of two complex numbers. */
__device__ static void add(double *sum, double real, double imaginary, const double *factor)
{
    sum[0] += real * factor[0] - imaginary * factor[1];
    sum[1] += real * factor[1] + imaginary * factor[0];
}

/* Numbers of all lanes added up, in an order that no number of threads changes; all threads of a block
 * with LANES * SUMS numbers, the lanes of each beside the other. */
__device__ static void lanes_added(const double *lanes, double *totals) /* (SUMS) */
{
    __shared__ double levels[SUMS * LEVELS];
    __syncthreads();
    for (int k = threadIdx.x; k < SUMS * LEVELS; k += blockDim.x) {
        double sum = 0.0;
        for (int lane = k % LEVELS; lane < LANES; lane += LEVELS)
            sum += lanes[k / LEVELS * LANES + lane];
        levels[k] = sum;
    }
    __syncthreads();
    for (int k = threadIdx.x; k < SUMS; k += blockDim.x) {
        double sum = 0.0;
        for (int level = 0; level < LEVELS; level++)
            sum += levels[k * LEVELS + level];
        totals[k] = sum;
    }
}

/* What a lane adds up: its columns of the folded image times waves along x, and the waves alone. */
__device__ static void lane_sums(
    const Wave *down, int nodes, int which, int lane, int rows, int columns,
    const float *folded, double *sum) /* (rows + columns), and (SUMS) */
{
    long long block = (long long)nodes * KEPT * columns;
    for (int column = lane; column < columns; column += LANES) {
        const float *own = folded + (long long)which * KEPT * columns + column;
        Wave plain = down[rows + column];
        double here[4] = {0.0, 0.0, 0.0, 0.0}, off = from_middle(column, columns);
        for (int share = 0; share < KEPT; share++)
            for (int k = 0; k < 4; k++)
                here[k] += own[k * block + (long long)share * columns];
        double moment[2] = {plain.part[0] * off, plain.part[1] * off};
        add(sum, here[0], here[2], plain.part);
        add(sum + 2, here[0], here[2], moment);
        add(sum + 4, here[1], here[3], plain.part);
        for (int k = 0; k < 2; k++) {
            sum[6 + k] += plain.part[k];
            sum[8 + k] += moment[k];
        }
    }
    for (int row = lane; row < rows; row += LANES)
        for (int k = 0; k < 2; k++) {
            sum[10 + k] += down[row].part[k];
            sum[12 + k] += down[row].part[k] * from_middle(row, rows);
        }
}

/* Sums over columns of the folded image times waves along x; a block of threads to a node. */
extern "C" __global__ void __launch_bounds__(LANES) moments(
    const double *plain, int nodes, int rows, int columns, /* (nodes, rows + columns, 2) */
    const float *folded, /* (4, nodes, KEPT, columns) */
    double *sums)        /* (nodes, SUMS) */
{
    __shared__ double lanes[SUMS * LANES];
    const Wave *down = (const Wave *)plain + (long long)blockIdx.x * (rows + columns);
    for (int lane = threadIdx.x; lane < LANES; lane += blockDim.x) {
        double sum[SUMS];
        for (int k = 0; k < SUMS; k++)
            sum[k] = 0.0;
        lane_sums(down, nodes, blockIdx.x, lane, rows, columns, folded, sum);
        for (int k = 0; k < SUMS; k++)
            lanes[k * LANES + lane] = sum[k];
    }
    lanes_added(lanes, sums + SUMS * blockIdx.x);
}

/* Amplitudes at the nodes; where there is a step to be taken, the better lattice; one block. */
extern "C" __global__ void __launch_bounds__(MOST) newton(
    const double *sums, int nodes, const int *indices, const double *mean,
    int rows, int columns, double across, double down, /* variances of the place under the windows */
    double highest, int step,
    double *reciprocal, double *amplitudes) /* (2, 2), (nodes, 2) */
{
    __shared__ double terms[TERMS][MOST], totals[TERMS];
    for (int which = threadIdx.x; which < nodes; which += blockDim.x) {
        const double *total = sums + SUMS * which;
        double value[6];
        /* less the frame's mean: value, first moment in x, first moment in y */
        for (int k = 0; k < 6; k++)
            value[k] = total[k];
        for (int part = 0; part < 3; part++) {
            const double *along = total + (part == 2 ? 12 : 10), *side = total + (part == 1 ? 8 : 6);
            add(value + 2 * part, -mean[0] * along[0], -mean[0] * along[1], side);
        }
        amplitudes[2 * which] = value[0];
        amplitudes[2 * which + 1] = value[1];
        double power = value[0] * value[0] + value[1] * value[1], length = 0.0, shift[2];
        for (int axis = 0; axis < 2; axis++) {
            const double *by = value + 2 + 2 * axis;
            double gradient = (by[1] * value[0] - by[0] * value[1]) / power;
            double moved = gradient / (TAU * (axis ? down : across));
            double bin = 1.0 / (axis ? rows : columns);
            shift[axis] = moved > bin ? bin : moved < -bin ? -bin : moved;
            length = max(length, fabs(node(reciprocal, indices, which, axis)));
        }
        bool counts = length < highest && power != 0.0;
        double h = indices[2 * which], k = indices[2 * which + 1];
        double own[TERMS] = {power * h * h, power * h * k, power * k * k, power * h * shift[0],
            power * h * shift[1], power * k * shift[0], power * k * shift[1]};
        for (int term = 0; term < TERMS; term++)
            terms[term][which] = counts ? own[term] : 0.0;
    }
    __syncthreads();
    for (int term = threadIdx.x; term < TERMS; term += blockDim.x) {
        double total = 0.0;
        for (int which = 0; which < nodes; which++)
            total += terms[term][which];
        totals[term] = total;
    }
    __syncthreads();
    if (threadIdx.x != 0 || !step)
        return;
    double a = totals[0], b = totals[1], d = totals[2], determinant = a * d - b * b;
    const double *right = totals + 3;
    for (int axis = 0; axis < 2; axis++) {
        reciprocal[axis] += (d * right[axis] - b * right[2 + axis]) / determinant;
        reciprocal[2 + axis] += (a * right[2 + axis] - b * right[axis]) / determinant;
    }
}
