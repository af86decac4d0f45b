/* How far metal columns stand off their sites: Gaussian columns fitted to the pixels around each.
 *
 * Twins: displacements.ColumnsInView and column_fit.fit_columns. Pixels are drawn in single precision
 * as there; sums are in double. Columns are numbered: the reference columns, then seven to a point.
 */

#include "selection.cuh"
#include "displaced.cuh"
#include "sites.cuh"

#define NORMAL_SIGMAS 1.4826
#define NONE __longlong_as_double(0x7ff8000000000000ll) /* NaN: no value */
#define SEVEN 7
#define NUMBERS 9 /* of a column: window, and fit to the periodic part */

enum Column { C_KIND, C_ROW, C_COLUMN, C_REST_X, C_REST_Y, C_X, C_Y, C_HEIGHT, C_BACKGROUND };
enum Kind { OUTSIDE, EMPTY, WHOLE };

struct Fit {
    double x, y, height, background, error[3];
};

/* Square of the radius of a column's window. */
__device__ static inline double window_of(const double *facts, double part)
{
    double radius = part * facts[FACT_CONSTANT];
    return radius * radius / 3.0;
}

__device__ static inline bool beyond(const int *disc, int k, double square)
{
    return !(disc[2 * k] * disc[2 * k] + disc[2 * k + 1] * disc[2 * k + 1] <= square);
}

/* One Gauss-Newton step of height, place and background; image(k) gives the pixels of the window. */
template <class Image>
__device__ static void fit_step(
    const int *disc, int pixels, double square, float rest_x, float rest_y, double sigma, Image image,
    float slope, float base, float floor_, double least, Fit *fit)
{
    double even[3] = {0.0, 0.0, 0.0}, slopes[3] = {0.0, 0.0, 0.0}, cross[4] = {0.0, 0.0, 0.0, 0.0};
    double first[2] = {0.0, 0.0}, second[2] = {0.0, 0.0};
    float place_x = (float)fit->x, place_y = (float)fit->y, height = (float)fit->height;
    float background = (float)fit->background, flat = (float)(-0.5 / (sigma * sigma));
    float steepness = (float)(1.0 / (sigma * sigma));
    for (int k = 0; k < pixels; k++) {
        if (beyond(disc, k, square))
            continue;
        float u = rest_x + disc[2 * k] - place_x, v = rest_y + disc[2 * k + 1] - place_y;
        float shape = (float)exp((double)((u * u + v * v) * flat));
        float drawn = shape * height + background, steep = shape * steepness;
        float weight = 1.0f / fmaxf(drawn * slope + base, floor_), rest = image(k) - drawn;
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
    const double tiny = 2.2250738585072014e-308;
    double area = max(even[0] * even[2] - even[1] * even[1], tiny);
    double inner[3] = {even[2] / area, -even[1] / area, even[0] / area};
    double carried[4]; /* inner times cross */
    for (int k = 0; k < 2; k++) {
        carried[k] = inner[0] * cross[k] + inner[1] * cross[2 + k];
        carried[2 + k] = inner[1] * cross[k] + inner[2] * cross[2 + k];
    }
    double a = slopes[0] - (cross[0] * carried[0] + cross[2] * carried[2]);
    double b = slopes[1] - (cross[0] * carried[1] + cross[2] * carried[3]);
    double d = slopes[2] - (cross[1] * carried[1] + cross[3] * carried[3]);
    area = max(a * d - b * b, tiny);
    double outer[3] = {d / area, -b / area, a / area};
    double left[2] = {second[0] - (carried[0] * first[0] + carried[2] * first[1]),
        second[1] - (carried[1] * first[0] + carried[3] * first[1])};
    double moment[2] = {outer[0] * left[0] + outer[1] * left[1], outer[1] * left[0] + outer[2] * left[1]};
    double raised = inner[0] * first[0] + inner[1] * first[1] - carried[0] * moment[0] - carried[1] * moment[1];
    double lifted = inner[1] * first[0] + inner[2] * first[1] - carried[2] * moment[0] - carried[3] * moment[1];
    fit->height += raised;
    double full = max(fit->height, least), limit = 0.5 * sigma; /* column_fit.LONGEST_STEP */
    fit->x += min(max(moment[0] / full, -limit), limit);
    fit->y += min(max(moment[1] / full, -limit), limit);
    fit->background += lifted;
    fit->error[0] = sqrt(max(outer[0], 0.0)) / full;
    fit->error[1] = sqrt(max(outer[2], 0.0)) / full;
    fit->error[2] = sqrt(max(inner[0], 0.0));
}

__device__ static inline double host_height(const double *facts)
{
    return 2.0 / (facts[FACT_UNIT] * facts[FACT_HOST]);
}

/* Cell of a column; false where it is none: of points on other sublattices, and beyond the last. */
__device__ static inline bool cell_of(
    const double *facts, int column, int references, int rows, int columns,
    const int *cells, const char *sublattice, int room, const int *seven, int *cell)
{
    int every = references * references;
    if (column < every) {
        double place[2], x = (column % references + 0.5) / references * columns;
        to_fractional(facts, x, (column / references + 0.5) / references * rows, place);
        for (int axis = 0; axis < 2; axis++)
            cell[axis] = fabs(place[axis]) < FARTHEST ? (int)rint(place[axis]) : (int)FARTHEST;
        return true;
    }
    int point = (column - every) / SEVEN, which = (column - every) % SEVEN;
    if (point >= counted(facts, FACT_REPORTED, room) || sublattice[point] != 0)
        return false;
    cell[0] = cells[2 * point] + seven[2 * which];
    cell[1] = cells[2 * point + 1] + seven[2 * which + 1];
    return true;
}

/* Window of each column, and where the frame's own average has it; a thread to a column.
 *
 * Pixels of the reference columns are laid out for the line of noise; `plain` counts those columns.
 */
extern "C" __global__ void columns_expected(
    const double *facts, const float *residual, const float *periodic, const char *hole,
    int rows, int columns, const float *displacement, int high, int wide, int stride,
    const int *cells, const char *sublattice, int room, const int *seven, int references,
    const int *disc, int pixels, int most, double window, int *plain,
    double *found, /* (columns, NUMBERS) */
    float *sample_residual, float *sample_periodic, char *sample_left) /* (references^2, pixels) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x, every = references * references, cell[2];
    if (index >= every + SEVEN * room)
        return;
    double *own = found + NUMBERS * index, point[2], moved[2], host = host_height(facts);
    own[C_KIND] = OUTSIDE;
    if (index < every)
        for (int k = 0; k < pixels; k++) {
            sample_residual[index * pixels + k] = sample_periodic[index * pixels + k] = 0.0f;
            sample_left[index * pixels + k] = 1;
        }
    if (!cell_of(facts, index, references, rows, columns, cells, sublattice, room, seven, cell))
        return;
    to_pixels(facts, cell[0], cell[1], point);
    displaced(displacement, high, wide, stride, point[0], point[1], moved);
    double x = point[0] + moved[0], y = point[1] + moved[1];
    if (!(x > -1e6 && x < 1e6 && y > -1e6 && y < 1e6))
        return;
    double square = window_of(facts, window), radius = sqrt(square);
    int reach = radius >= 0.0 ? (int)min(radius, (double)most) : 0;
    int row = (int)rint(y), column = (int)rint(x);
    if (row < reach || row > rows - 1 - reach || column < reach || column > columns - 1 - reach)
        return;
    square = min(square, (double)reach * reach + 2.0 * reach + 0.5); /* no pixel beyond the reach */
    long long middle = (long long)row * columns + column;
    bool empty = false;
    for (int k = 0; k < pixels; k++)
        empty |= !beyond(disc, k, square) && hole[middle + disc[2 * k + 1] * columns + disc[2 * k]];
    float rest_x = (float)(column - x), rest_y = (float)(row - y);
    Fit fit = {0.0, 0.0, host, 0.0, {0.0, 0.0, 0.0}};
    fit_step(disc, pixels, square, rest_x, rest_y, facts[FACT_SIGMA],
        [=](int k) { return periodic[middle + disc[2 * k + 1] * columns + disc[2 * k]]; },
        0.0f, 1.0f, 1.0f, host, &fit);
    own[C_KIND] = empty ? EMPTY : WHOLE;
    own[C_ROW] = row;
    own[C_COLUMN] = column;
    own[C_REST_X] = rest_x;
    own[C_REST_Y] = rest_y;
    own[C_X] = fit.x;
    own[C_Y] = fit.y;
    own[C_HEIGHT] = fit.height;
    own[C_BACKGROUND] = fit.background;
    if (index >= every || empty)
        return;
    atomicAdd(plain, 1);
    for (int k = 0; k < pixels; k++) {
        if (beyond(disc, k, square))
            continue;
        long long place = middle + disc[2 * k + 1] * columns + disc[2 * k];
        sample_residual[index * pixels + k] = residual[place];
        sample_periodic[index * pixels + k] = periodic[place];
        sample_left[index * pixels + k] = 0;
    }
}

/* Displacement of each column from there, and its standard error by counting noise; a thread to a
 * column. NaN where it is missing, or farther off than a column of this site can be. */
extern "C" __global__ void columns_fitted(
    const double *facts, const float *residual, int columns_wide, int columns, const int *disc,
    int pixels, int most, double window, const double *found, const int *plain, const double *line, /* slope, base, least */
    int steps, double least_noise, double least_height, double least_significance, double longest,
    double *shift) /* (columns, 4): x, y, and their errors */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= columns)
        return;
    const double *own = found + NUMBERS * index;
    for (int k = 0; k < 4; k++)
        shift[4 * index + k] = NONE;
    if (own[C_KIND] != WHOLE)
        return;
    double host = host_height(facts), sigma = facts[FACT_SIGMA];
    double least = least_noise * host * (least_noise * host);
    float slope = *plain ? (float)line[0] : 0.0f, base = (float)(*plain ? line[1] : least);
    float low = (float)(*plain ? max(line[2], least) : least);
    long long middle = (long long)own[C_ROW] * columns_wide + (long long)own[C_COLUMN];
    float rest_x = (float)own[C_REST_X], rest_y = (float)own[C_REST_Y];
    float x = (float)own[C_X], y = (float)own[C_Y], height = (float)own[C_HEIGHT];
    float background = (float)own[C_BACKGROUND], flat = (float)(-0.5 / (sigma * sigma));
    auto target = [=](int k) {
        float u = rest_x + disc[2 * k] - x, v = rest_y + disc[2 * k + 1] - y;
        float shape = (float)exp((double)((u * u + v * v) * flat));
        long long place = middle + disc[2 * k + 1] * columns_wide + disc[2 * k];
        return residual[place] + (shape * height + background);
    };
    double square = window_of(facts, window), reach = min(floor(sqrt(square)), (double)most);
    square = min(square, reach * reach + 2.0 * reach + 0.5);
    Fit fit = {own[C_X], own[C_Y], own[C_HEIGHT], own[C_BACKGROUND], {0.0, 0.0, 0.0}};
    for (int step = 0; step < steps; step++)
        fit_step(disc, pixels, square, rest_x, rest_y, sigma, target, slope, base, low,
            least_height * host, &fit);
    double off[2] = {fit.x - own[C_X], fit.y - own[C_Y]};
    double standing = max(least_height * host, least_significance * fit.error[2]);
    if (!(fit.height > standing && hypot(off[0], off[1]) < longest * facts[FACT_CONSTANT]))
        return;
    for (int axis = 0; axis < 2; axis++) {
        shift[4 * index + axis] = off[axis];
        shift[4 * index + 2 + axis] = fit.error[axis];
    }
}

/* Displacements of the points' columns, errors scaled to what the reference columns show; one block. */
extern "C" __global__ void __launch_bounds__(TOGETHER) columns_calibrated(
    const double *shift, int every, int room, double least_spread,
    float *moved, float *error) /* (room, SEVEN, 2) */
{
    auto sound = [=](int k) {
        double x = shift[4 * k] / shift[4 * k + 2], y = shift[4 * k + 1] / shift[4 * k + 3];
        return fabs(x) < BEYOND && fabs(y) < BEYOND;
    };
    int number = 0;
    for (int k = threadIdx.x; k < every; k += blockDim.x)
        number += sound(k);
    number = summed(number);
    double scale[2] = {1.0, 1.0};
    for (int axis = 0; axis < 2 && number > 0; axis++) {
        auto z = [=](int k) {
            return sound(k) ? fabs(shift[4 * k + axis] / shift[4 * k + 2 + axis]) : BEYOND;
        };
        double lower = ranked(z, every, (number - 1) / 2, 0);
        double upper = number % 2 ? lower : ranked(z, every, number / 2, 0);
        scale[axis] = max(NORMAL_SIGMAS * (0.5 * (lower + upper)), least_spread);
    }
    for (int k = threadIdx.x; k < SEVEN * room; k += blockDim.x)
        for (int axis = 0; axis < 2; axis++) {
            const double *own = shift + 4 * (every + k);
            moved[2 * k + axis] = (float)own[axis];
            error[2 * k + axis] = (float)(own[2 + axis] * scale[axis]);
        }
}
