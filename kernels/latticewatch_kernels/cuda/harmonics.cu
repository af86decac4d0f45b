/* Amplitudes of an image at the nodes of a reciprocal lattice, and Newton's steps towards the lattice.
 *
 * Twins: harmonics.fit_reciprocal and harmonics.measure_harmonics. All is in double precision but for the
 * waves along y and the products with them, as the twin's are.
 */

#define SHARES 16  /* threads to a column of a node: each folds every so many rows */
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

/* Window times exp(-2 pi i f k), and the same times the place from the middle: parts of two numbers. */
__device__ static void wave_at(
    double frequency, int place, int size, const double *window, double *plain, double *moment)
{
    double angle = -TAU * frequency * place, off = place - 0.5 * (size - 1);
    plain[0] = window[place] * cos(angle);
    plain[1] = window[place] * sin(angle);
    moment[0] = plain[0] * off;
    moment[1] = plain[1] * off;
}

__device__ static double node(const double *reciprocal, const int *indices, int which, int axis)
{
    return indices[2 * which] * reciprocal[axis] + indices[2 * which + 1] * reciprocal[2 + axis];
}

/* Waves along y that the image is folded with; one thread to a row of a node. */
extern "C" __global__ void waves(
    const double *reciprocal, const int *indices, int nodes, /* (2, 2), (nodes, 2) */
    const double *window, int rows,
    float *parts) /* (nodes, rows, 4) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= nodes * rows)
        return;
    double plain[2], moment[2];
    wave_at(node(reciprocal, indices, index / rows, 1), index % rows, rows, window, plain, moment);
    for (int k = 0; k < 2; k++) {
        parts[4 * index + 2 * k] = (float)plain[k];
        parts[4 * index + 2 * k + 1] = (float)moment[k];
    }
}

/* The image folded with the waves; SHARES threads to a column of a node.
 *
 * In single precision, as the twin: to become double takes a number eight times as long as a product
 * (CUDA C++ Programming Guide, arithmetic throughput, compute capability 9.0). A share is short, and
 * shares are summed in double precision.
 */
extern "C" __global__ void folded_image(
    const float *image, const float *parts, int nodes, int rows, int columns,
    float *folded) /* (4, nodes, SHARES, columns) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x, column = index % columns;
    if (index >= nodes * SHARES * columns)
        return;
    int share = index / columns % SHARES, which = index / columns / SHARES;
    const Parts *wave = (const Parts *)parts + (long long)which * rows;
    float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int first = share; first < rows; first += AT_ONCE * SHARES) {
        float value[AT_ONCE];
        for (int k = 0; k < AT_ONCE; k++) {
            int row = first + k * SHARES;
            value[k] = row < rows ? image[(long long)row * columns + column] : 0.0f;
        }
        for (int k = 0; k < AT_ONCE; k++) {
            Parts here = wave[min(first + k * SHARES, rows - 1)];
            for (int part = 0; part < 4; part++)
                sum[part] += here.part[part] * value[k];
        }
    }
    for (int k = 0; k < 4; k++)
        folded[(long long)k * nodes * SHARES * columns + index] = sum[k];
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
    const double *reciprocal, const int *indices, int nodes, int which, int lane,
    const double *row_window, const double *column_window, int rows, int columns,
    const float *folded, double *sum) /* (SUMS) */
{
    long long block = (long long)nodes * SHARES * columns;
    double plain[2], moment[2];
    for (int column = lane; column < columns; column += LANES) {
        const float *own = folded + (long long)which * SHARES * columns + column;
        double here[4] = {0.0, 0.0, 0.0, 0.0};
        for (int share = 0; share < SHARES; share++)
            for (int k = 0; k < 4; k++)
                here[k] += own[k * block + (long long)share * columns];
        wave_at(node(reciprocal, indices, which, 0), column, columns, column_window, plain, moment);
        add(sum, here[0], here[2], plain);
        add(sum + 2, here[0], here[2], moment);
        add(sum + 4, here[1], here[3], plain);
        for (int k = 0; k < 2; k++) {
            sum[6 + k] += plain[k];
            sum[8 + k] += moment[k];
        }
    }
    for (int row = lane; row < rows; row += LANES) {
        wave_at(node(reciprocal, indices, which, 1), row, rows, row_window, plain, moment);
        for (int k = 0; k < 2; k++) {
            sum[10 + k] += plain[k];
            sum[12 + k] += moment[k];
        }
    }
}

/* Sums over columns of the folded image times waves along x; a block of threads to a node. */
extern "C" __global__ void __launch_bounds__(LANES) moments(
    const double *reciprocal, const int *indices, int nodes,
    const double *row_window, const double *column_window, int rows, int columns,
    const float *folded, /* (4, nodes, SHARES, columns) */
    double *sums)        /* (nodes, SUMS) */
{
    __shared__ double lanes[SUMS * LANES];
    for (int lane = threadIdx.x; lane < LANES; lane += blockDim.x) {
        double sum[SUMS];
        for (int k = 0; k < SUMS; k++)
            sum[k] = 0.0;
        lane_sums(reciprocal, indices, nodes, blockIdx.x, lane, row_window, column_window, rows,
            columns, folded, sum);
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
