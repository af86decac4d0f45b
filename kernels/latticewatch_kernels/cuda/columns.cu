/* How far metal columns stand off their sites: Gaussian columns fitted to the pixels around each.
 *
 * Twin: displacements.ColumnsInView. Columns are numbered: the reference columns, then seven to a
 * point.
 */

#include "selection.cuh"
#include "displaced.cuh"
#include "sites.cuh"
#include "column_fit.cuh"

#define NORMAL_SIGMAS 1.4826
#define NONE __longlong_as_double(0x7ff8000000000000ll) /* NaN: no value */
#define SEVEN 7
#define NUMBERS 9 /* of a column: its window, and its fit to the periodic part */

enum Column { C_KIND, C_ROW, C_COLUMN, C_REST_X, C_REST_Y, C_X, C_Y, C_HEIGHT, C_BACKGROUND };

/* Square of the radius of a column's window. */
__device__ static inline double window_of(const double *facts, double part)
{
    double radius = part * facts[FACT_CONSTANT];
    return radius * radius / 3.0;
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

/* Window about a place, if the frame holds all of it. */
__device__ static inline Window window_about(double x, double y, int reach, int rows, int columns)
{
    Window window = {OUTSIDE, 0, 0, 0.0f, 0.0f};
    if (!(x > -1e6 && x < 1e6 && y > -1e6 && y < 1e6))
        return window;
    int row = (int)rint(y), column = (int)rint(x);
    if (row < reach || row > rows - 1 - reach || column < reach || column > columns - 1 - reach)
        return window;
    return {WHOLE, row, column, (float)(column - x), (float)(row - y)};
}

/* Window of each column, and where the frame's own average has it; a block to GROUP columns.
 *
 * Pixels of the reference columns that no hole touches are laid out for the line of noise.
 */
extern "C" __global__ void __launch_bounds__(TOGETHER) columns_expected(
    const double *facts, const float *residual, const float *periodic, const char *hole,
    int rows, int columns, const float *displacement, int high, int wide, int stride,
    const int *cells, const char *sublattice, int room, const int *seven, int references,
    const int *offsets, int pixels, int most, double part, double longest_step,
    double *found, /* (columns, NUMBERS) */
    float *sample_residual, float *sample_periodic, char *sample_left) /* (references^2, pixels) */
{
    __shared__ Window windows[GROUP];
    __shared__ Fit fits[GROUP];
    __shared__ int empty[GROUP * LANES];
    int first = blockIdx.x * GROUP, every = references * references, number = every + SEVEN * room;
    Disc disc = disc_of(window_of(facts, part), offsets, pixels, most);
    double sigma = facts[FACT_SIGMA], host = host_height(facts);
    bool any = false; /* most blocks are behind the last point */
    for (int k = threadIdx.x; k < GROUP; k += blockDim.x) {
        int column = first + k, cell[2];
        double point[2], moved[2];
        windows[k] = {OUTSIDE, 0, 0, 0.0f, 0.0f};
        fits[k] = {0.0, 0.0, host, 0.0, {0.0, 0.0, 0.0}};
        if (column >= number
            || !cell_of(facts, column, references, rows, columns, cells, sublattice, room, seven, cell))
            continue;
        to_pixels(facts, cell[0], cell[1], point);
        displaced(displacement, high, wide, stride, point[0], point[1], moved);
        windows[k] = window_about(point[0] + moved[0], point[1] + moved[1], disc.reach, rows, columns);
        any |= windows[k].kind != OUTSIDE;
    }
    any = __syncthreads_count(any) > 0;
    for (int k = threadIdx.x; k < GROUP * LANES; k += blockDim.x) {
        Window window = windows[k / LANES];
        empty[k] = 0;
        if (window.kind == OUTSIDE)
            continue;
        for (int pixel = k % LANES; pixel < pixels && counts(disc, pixel); pixel += LANES)
            empty[k] |= hole[pixel_of(window, disc, pixel, columns)];
    }
    if (any)
        fit_step(windows, disc, sigma, {0.0f, 1.0f, 1.0f}, host, longest_step * sigma,
            [=](int k, int pixel) { return periodic[pixel_of(windows[k], disc, pixel, columns)]; }, fits);
    for (int k = threadIdx.x; k < GROUP && any; k += blockDim.x)
        for (int lane = 0; lane < LANES; lane++)
            if (empty[LANES * k + lane])
                windows[k].kind = EMPTY;
    __syncthreads();
    for (int k = threadIdx.x; k < GROUP && first + k < number; k += blockDim.x) {
        double *own = found + (long long)NUMBERS * (first + k);
        own[C_KIND] = windows[k].kind;
        own[C_ROW] = windows[k].row;
        own[C_COLUMN] = windows[k].column;
        own[C_REST_X] = windows[k].rest_x;
        own[C_REST_Y] = windows[k].rest_y;
        own[C_X] = fits[k].x;
        own[C_Y] = fits[k].y;
        own[C_HEIGHT] = fits[k].height;
        own[C_BACKGROUND] = fits[k].background;
    }
    for (int k = threadIdx.x; k < GROUP * LANES && first < every; k += blockDim.x) {
        Window window = windows[k / LANES];
        int column = first + k / LANES;
        for (int pixel = k % LANES; pixel < pixels && column < every; pixel += LANES) {
            bool taken = window.kind == WHOLE && counts(disc, pixel);
            long long place = taken ? pixel_of(window, disc, pixel, columns) : 0;
            int at = column * pixels + pixel;
            sample_residual[at] = taken ? residual[place] : 0.0f;
            sample_periodic[at] = taken ? periodic[place] : 0.0f;
            sample_left[at] = !taken;
        }
    }
}

/* Displacement of each column from there, and its standard error by counting noise; a block to GROUP
 * columns. NaN where it is missing, or farther off than a column of this site can be. */
extern "C" __global__ void __launch_bounds__(TOGETHER) columns_fitted(
    const double *facts, const float *residual, int columns, int number, const int *offsets,
    int pixels, int most, double part, double longest_step, const double *found,
    const double *levels, const double *line, /* classes of intensity; slope, base and least */
    int steps, double least_noise, double least_height, double least_significance, double longest,
    double *shift) /* (number, 4): x, y, and their errors */
{
    __shared__ Window windows[GROUP];
    __shared__ Fit crystal[GROUP], fits[GROUP];
    int first = blockIdx.x * GROUP;
    Disc disc = disc_of(window_of(facts, part), offsets, pixels, most);
    double sigma = facts[FACT_SIGMA], host = host_height(facts);
    double least = least_noise * host * (least_noise * host);
    bool told = levels[0] < BEYOND; /* else no pixel was kept */
    Variance noise = {0.0f, (float)least, (float)least};
    if (told)
        noise = {(float)line[0], (float)line[1], (float)max(line[2], least)};
    bool any = false;
    for (int k = threadIdx.x; k < GROUP; k += blockDim.x) {
        windows[k] = {OUTSIDE, 0, 0, 0.0f, 0.0f};
        if (first + k >= number)
            continue;
        const double *own = found + (long long)NUMBERS * (first + k);
        if (own[C_KIND] == WHOLE)
            windows[k] = {WHOLE, (int)own[C_ROW], (int)own[C_COLUMN], (float)own[C_REST_X],
                (float)own[C_REST_Y]};
        crystal[k] = {own[C_X], own[C_Y], own[C_HEIGHT], own[C_BACKGROUND], {0.0, 0.0, 0.0}};
        fits[k] = crystal[k];
        any |= windows[k].kind != OUTSIDE;
    }
    any = __syncthreads_count(any) > 0;
    for (int step = 0; step < steps && any; step++)
        fit_step(windows, disc, sigma, noise, least_height * host, longest_step * sigma,
            [=](int k, int pixel) {
                return residual[pixel_of(windows[k], disc, pixel, columns)]
                    + drawn_at(windows[k], disc, pixel, crystal[k], sigma);
            },
            fits);
    for (int k = threadIdx.x; k < GROUP && first + k < number; k += blockDim.x) {
        Fit fit = fits[k];
        double off[2] = {fit.x - crystal[k].x, fit.y - crystal[k].y}, *own = shift + 4 * (first + k);
        double standing = max(least_height * host, least_significance * fit.error[2]);
        bool sound = windows[k].kind == WHOLE && fit.height > standing
            && hypot(off[0], off[1]) < longest * facts[FACT_CONSTANT];
        for (int axis = 0; axis < 2; axis++) {
            own[axis] = sound ? off[axis] : NONE;
            own[2 + axis] = sound ? fit.error[axis] : NONE;
        }
    }
}

/* Displacements of the points' columns, errors scaled to what the reference columns show; one block.
 *
 * There are so few of these that each counts those before it for its rank.
 */
extern "C" __global__ void __launch_bounds__(TOGETHER) columns_calibrated(
    const double *shift, int every, int room, double least_spread,
    double *sizes,              /* (2, every), scratch */
    float *moved, float *error) /* (room, SEVEN, 2) */
{
    __shared__ double middle[2][2]; /* the lower and the upper one of each axis */
    int sound = 0;
    for (int k = threadIdx.x; k < every; k += blockDim.x) {
        double x = fabs(shift[4 * k] / shift[4 * k + 2]), y = fabs(shift[4 * k + 1] / shift[4 * k + 3]);
        bool both = x < BEYOND && y < BEYOND;
        sizes[k] = both ? x : BEYOND;
        sizes[every + k] = both ? y : BEYOND;
        sound += both;
    }
    sound = summed(sound);
    for (int k = threadIdx.x; k < 2 * every; k += blockDim.x) {
        const double *others = sizes + k / every * every;
        int own = k % every, rank = 0;
        for (int other = 0; other < every; other++)
            rank += others[other] < others[own] || (others[other] == others[own] && other < own);
        if (rank == (sound - 1) / 2)
            middle[k / every][0] = others[own];
        if (rank == sound / 2)
            middle[k / every][1] = others[own];
    }
    __syncthreads();
    double scale[2] = {1.0, 1.0};
    for (int axis = 0; axis < 2 && sound > 0; axis++)
        scale[axis] = max(NORMAL_SIGMAS * (0.5 * (middle[axis][0] + middle[axis][1])), least_spread);
    for (int k = threadIdx.x; k < SEVEN * room; k += blockDim.x)
        for (int axis = 0; axis < 2; axis++) {
            const double *own = shift + 4 * (every + k);
            moved[2 * k + axis] = (float)own[axis];
            error[2 * k + axis] = (float)(own[2 + axis] * scale[axis]);
        }
}
