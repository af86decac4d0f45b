/* Gaussian columns on an even background, fitted to the pixels around each. Twin: column_fit.
 *
 * Pixels are drawn in single precision as there. Sums are in double precision, and in an order that
 * no number of threads changes. Each block has GROUP columns, with LANES of its threads to each.
 */

#define GROUP 16
#define LANES 16

enum Kind { OUTSIDE, EMPTY, WHOLE };

/* Pixels that a column is fitted to: which, and where the column is expected from the middle one. */
struct Window {
    int kind, row, column;
    float rest_x, rest_y;
};

/* Offsets (x, y) of pixels, the nearest first; those count that are no farther off than the root of
 * square, which is rounded down to a whole number, as squares of offsets are. How many more there are
 * changes nothing, neither which pixels a lane has nor their order. */
struct Disc {
    const int *offsets;
    int number, reach, square;
};

/* A column, its place from where it is expected, and the standard errors of x, y and height. */
struct Fit {
    double x, y, height, background, error[3];
};

/* Variance of a pixel over its intensity. */
struct Variance {
    float slope, base, least;
};

/* What a step adds up over pixels: two symmetric matrices, what is between them, two vectors. */
enum Sums { EVEN = 0, SLOPES = 3, CROSS = 6, FIRST = 10, SECOND = 12, SUMS = 14 };

/* Disc of a radius; no pixel of it is beyond the reach, nor that beyond most, whatever the radius. */
__device__ static inline Disc disc_of(double square, const int *offsets, int number, int most)
{
    int reach = square >= 0.0 ? (int)min(sqrt(square), (double)most) : 0;
    double bound = (double)reach * reach + 2.0 * reach + 0.5;
    double least = square < bound ? square : bound;
    return {offsets, number, reach, least >= 0.0 ? (int)least : -1};
}

__device__ static inline bool counts(const Disc &disc, int k)
{
    int x = disc.offsets[2 * k], y = disc.offsets[2 * k + 1];
    return x * x + y * y <= disc.square;
}

/* Place in a frame of a pixel of a window. */
__device__ static inline long long pixel_of(const Window &window, const Disc &disc, int k, int columns)
{
    return (long long)(window.row + disc.offsets[2 * k + 1]) * columns + window.column
        + disc.offsets[2 * k];
}

/* Shape of a unit column at a pixel, and how far the pixel is from its middle. */
__device__ static inline float shape_at(
    const Window &window, const Disc &disc, int k, float x, float y, double sigma, float *u, float *v)
{
    *u = window.rest_x + disc.offsets[2 * k] - x;
    *v = window.rest_y + disc.offsets[2 * k + 1] - y;
    return expf((*u * *u + *v * *v) * (float)(-0.5 / (sigma * sigma)));
}

__device__ static inline float drawn_at(
    const Window &window, const Disc &disc, int k, const Fit &fit, double sigma)
{
    float u, v, shape = shape_at(window, disc, k, (float)fit.x, (float)fit.y, sigma, &u, &v);
    return shape * (float)fit.height + (float)fit.background;
}

/* Sums of a lane's pixels; value(k) gives the image there. */
template <class Value>
__device__ static void add_up(
    const Window &window, const Disc &disc, const Fit &fit, double sigma, const Variance &line,
    int lane, Value value, double *sums) /* (SUMS) */
{
    double even[3] = {0.0, 0.0, 0.0}, slopes[3] = {0.0, 0.0, 0.0}, cross[4] = {0.0, 0.0, 0.0, 0.0};
    double first[2] = {0.0, 0.0}, second[2] = {0.0, 0.0};
    float x = (float)fit.x, y = (float)fit.y, height = (float)fit.height, u, v;
    float background = (float)fit.background, steepness = (float)(1.0 / (sigma * sigma));
    for (int k = lane; k < disc.number && counts(disc, k); k += LANES) {
        float shape = shape_at(window, disc, k, x, y, sigma, &u, &v), steep = shape * steepness;
        float drawn = shape * height + background, rest = value(k) - drawn;
        float weight = 1.0f / fmaxf(drawn * line.slope + line.base, line.least);
        u *= steep;
        v *= steep;
        double level = shape * weight, across = u * weight, down = v * weight, pulled = rest * weight;
        even[0] += level * shape;
        even[1] += level;
        even[2] += weight;
        slopes[0] += across * u;
        slopes[1] += across * v;
        slopes[2] += down * v;
        cross[0] += across * shape;
        cross[1] += down * shape;
        cross[2] += across;
        cross[3] += down;
        first[0] += pulled * shape;
        first[1] += pulled;
        second[0] += pulled * u;
        second[1] += pulled * v;
    }
    for (int k = 0; k < 3; k++) {
        sums[EVEN + k] = even[k];
        sums[SLOPES + k] = slopes[k];
    }
    for (int k = 0; k < 4; k++)
        sums[CROSS + k] = cross[k];
    for (int k = 0; k < 2; k++) {
        sums[FIRST + k] = first[k];
        sums[SECOND + k] = second[k];
    }
}

/* Inverse of a symmetric matrix by its first, mixed and last entry; of a singular one, something
 * large, for no determinant is taken to be less than the least normal number. */
__device__ static inline void inverse(double first, double mixed, double last, double *inner)
{
    double area = max(first * last - mixed * mixed, 2.2250738585072014e-308);
    inner[0] = last / area;
    inner[1] = -mixed / area;
    inner[2] = first / area;
}

/* Take a Gauss-Newton step by its sums: column_fit._solved and what fit_columns makes of it. */
__device__ static void take_step(const double *sums, double least, double limit, Fit *fit)
{
    const double *cross = sums + CROSS, *first = sums + FIRST, *slopes = sums + SLOPES;
    double inner[3], outer[3], carried[4]; /* the last is inner times cross */
    inverse(sums[EVEN], sums[EVEN + 1], sums[EVEN + 2], inner);
    for (int k = 0; k < 2; k++) {
        carried[k] = inner[0] * cross[k] + inner[1] * cross[2 + k];
        carried[2 + k] = inner[1] * cross[k] + inner[2] * cross[2 + k];
    }
    inverse(slopes[0] - (cross[0] * carried[0] + cross[2] * carried[2]),
        slopes[1] - (cross[0] * carried[1] + cross[2] * carried[3]),
        slopes[2] - (cross[1] * carried[1] + cross[3] * carried[3]), outer);
    double left = sums[SECOND] - (carried[0] * first[0] + carried[2] * first[1]);
    double right = sums[SECOND + 1] - (carried[1] * first[0] + carried[3] * first[1]);
    double across = outer[0] * left + outer[1] * right, down = outer[1] * left + outer[2] * right;
    fit->height += inner[0] * first[0] + inner[1] * first[1] - (carried[0] * across + carried[1] * down);
    fit->background +=
        inner[1] * first[0] + inner[2] * first[1] - (carried[2] * across + carried[3] * down);
    double full = max(fit->height, least);
    fit->x += min(max(across / full, -limit), limit);
    fit->y += min(max(down / full, -limit), limit);
    fit->error[0] = sqrt(max(outer[0], 0.0)) / full;
    fit->error[1] = sqrt(max(outer[2], 0.0)) / full;
    fit->error[2] = sqrt(max(inner[0], 0.0));
}

/* Take a step of each column of the block that has a window; value(column, k) gives the image at a
 * pixel. What threads read of windows and fits they have waited for, and for what they find here. */
template <class Value>
__device__ static void fit_step(
    const Window *windows, const Disc &disc, double sigma, const Variance &line, double least,
    double limit, Value value, Fit *fits) /* (GROUP) each */
{
    __shared__ double sums[GROUP * LANES][SUMS], totals[GROUP][SUMS];
    for (int k = threadIdx.x; k < GROUP * LANES; k += blockDim.x) {
        int column = k / LANES;
        if (windows[column].kind != OUTSIDE)
            add_up(windows[column], disc, fits[column], sigma, line, k % LANES,
                [=](int pixel) { return value(column, pixel); }, sums[k]);
    }
    __syncthreads();
    for (int k = threadIdx.x; k < GROUP * SUMS; k += blockDim.x) {
        int column = k / SUMS, which = k % SUMS;
        double total = 0.0;
        for (int lane = 0; lane < LANES && windows[column].kind != OUTSIDE; lane++)
            total += sums[LANES * column + lane][which];
        totals[column][which] = total;
    }
    __syncthreads();
    for (int column = threadIdx.x; column < GROUP; column += blockDim.x)
        if (windows[column].kind != OUTSIDE)
            take_step(totals[column], least, limit, &fits[column]);
    __syncthreads();
}
