/* The lattice of a frame by its harmonics, and what follows from the two alone.
 *
 * Twins: registration.from_harmonics, columns.column_profile, order._mean_above_empty,
 * Lattice.covering_cells, periodic.window_px and periodic.leaked. One block, in double precision.
 * Terms are computed by a thread each and summed in their order by one thread a sum, so that the
 * number of threads has no part in the result. What is done once is not written out twice: to fetch
 * its instructions takes a block that runs alone longer than to follow them.
 */

#include "facts.cuh"
#include "crystal.cuh"

#define FEW 128  /* threads of the block: there are some 18 harmonics, and barriers of four warps */
#define MOST 32  /* harmonics */
#define ROWS 18  /* sums at a time: three sites of six lattices */
#define SIDE 64  /* points along the motif */
#define SPAN 4   /* greatest index of a node */
#define DEGREE 0.017453292519943295

/* What the threads share. `valid` says that there is a lattice, `again` that its gauge is open. */
struct Desk {
    Crystal crystal;
    Wave waves[MOST];
    double terms[ROWS * MOST], sums[ROWS], turn[2 * SIDE], highest[FEW], off[6], relative[6][3];
    int place[FEW], index[2 * MOST], valid, again;
};

/* Sum each row of the terms. */
__device__ static __noinline__ void add_up(Desk &desk, int rows, int number)
{
    __syncthreads();
    for (int row = threadIdx.x; row < rows; row += blockDim.x) {
        double total = 0.0;
        for (int k = 0; k < number; k++)
            total += desk.terms[row * MOST + k];
        desk.sums[row] = total;
    }
    __syncthreads();
}

/* Motif at the three sites, `sums` by turn and sublattice; twin: registration.site_heights. */
__device__ static __noinline__ void site_heights(Desk &desk, int turns, int number)
{
    for (int k = threadIdx.x; k < 3 * turns * number; k += blockDim.x) {
        int row = k / number, which = k % number;
        double point[2];
        site(desk.crystal, row / 3, row % 3, point);
        desk.terms[row * MOST + which] = motif_at(desk.waves[which], point);
    }
    add_up(desk, 3 * turns, number);
}

/* Origin at the motif's brightest point on a grid; of equals the first. */
__device__ static void brightest(Desk &desk, int side, int number)
{
    double highest = 0.0;
    int place = -1;
    for (int k = threadIdx.x; k < number; k += blockDim.x) {
        desk.index[2 * k] = remainder_of(desk.waves[k].h, side);
        desk.index[2 * k + 1] = remainder_of(desk.waves[k].k, side);
    }
    for (int k = threadIdx.x; k < side; k += blockDim.x) {
        desk.turn[2 * k] = cos(TAU * k / side);
        desk.turn[2 * k + 1] = sin(TAU * k / side);
    }
    __syncthreads();
    for (int k = threadIdx.x; k < side * side; k += blockDim.x) {
        double value = 0.0;
        int down = k / side, across = k % side;
        for (int which = 0; which < number; which++) {
            const Wave &wave = desk.waves[which];
            int turn = (desk.index[2 * which] * down + desk.index[2 * which + 1] * across) % side;
            value += wave.real * desk.turn[2 * turn] - wave.imaginary * desk.turn[2 * turn + 1];
        }
        if (place < 0 || value > highest) {
            highest = value;
            place = k;
        }
    }
    desk.highest[threadIdx.x] = highest;
    desk.place[threadIdx.x] = place;
    __syncthreads();
    for (int width = blockDim.x / 2; width > 0; width /= 2) {
        int thread = threadIdx.x, other = thread + width;
        if (thread < width
            && (desk.highest[other] > desk.highest[thread]
                || (desk.highest[other] == desk.highest[thread] && desk.place[other] < desk.place[thread]))) {
            desk.highest[thread] = desk.highest[other];
            desk.place[thread] = desk.place[other];
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        place = desk.place[0];
        for (int axis = 0; axis < 2; axis++)
            desk.crystal.origin[axis] = (double)(place / side) / side * desk.crystal.a[axis]
                + (double)(place % side) / side * desk.crystal.a[2 + axis];
    }
    __syncthreads();
}

/* One round of site heights and phase in turn; twin: registration._refine. */
__device__ static void refine(Desk &desk, int number)
{
    site_heights(desk, 1, number);
    double least = min(desk.sums[0], min(desk.sums[1], desk.sums[2])), heights[3];
    for (int k = 0; k < 3; k++)
        heights[k] = desk.sums[k] - least;
    for (int which = threadIdx.x; which < number; which += blockDim.x) {
        const Wave &wave = desk.waves[which];
        double real, imaginary;
        structure(heights, wave.h, wave.k, &real, &imaginary);
        /* the amplitude times the conjugate of what the sites would give */
        double turned = TAU * (wave.x * desk.crystal.origin[0] + wave.y * desk.crystal.origin[1]);
        double c = cos(turned), s = sin(turned);
        double left = real * c + imaginary * s, right = imaginary * c - real * s;
        double along = wave.real * left + wave.imaginary * right;
        double across = wave.imaginary * left - wave.real * right;
        double weight = hypot(along, across), phase = atan2(across, along);
        desk.terms[which] = weight * wave.h * wave.h;
        desk.terms[MOST + which] = weight * wave.h * wave.k;
        desk.terms[2 * MOST + which] = weight * wave.k * wave.k;
        desk.terms[3 * MOST + which] = weight * wave.h * phase;
        desk.terms[4 * MOST + which] = weight * wave.k * phase;
    }
    add_up(desk, 5, number);
    if (threadIdx.x == 0) {
        const double *s = desk.sums;
        double whole = -TAU * (s[0] * s[2] - s[1] * s[1]);
        double first = (s[2] * s[3] - s[1] * s[4]) / whole;
        double second = (s[0] * s[4] - s[1] * s[3]) / whole;
        for (int axis = 0; axis < 2; axis++)
            desk.crystal.origin[axis] += first * desk.crystal.a[axis] + second * desk.crystal.a[2 + axis];
    }
    __syncthreads();
}

/* a1 nearest to +x with the second-brightest column at (1/3, 2/3); twin: registration._nearest_to_x.
 *
 * From a second column of height `equal` on the gauge is settled by direction: `again` says where the
 * other column has to be tried.
 */
__device__ static __noinline__ void turn_to_x(Desk &desk, int number, double equal)
{
    site_heights(desk, 6, number);
    for (int turn = threadIdx.x; turn < 6; turn += blockDim.x) {
        const double *level = desk.sums + 3 * turn;
        double least = min(level[0], min(level[1], level[2])), vector[2];
        #pragma unroll 1
        for (int k = 0; k < 3; k++)
            desk.relative[turn][k] = (level[k] - least) / (level[0] - least);
        ring(desk.crystal.a, turn, vector);
        desk.off[turn] = fabs(atan2(vector[1], vector[0]) / DEGREE);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        double best = 360.0;
        Crystal chosen = desk.crystal;
        #pragma unroll 1
        for (int turn = 0; turn < 6; turn++) {
            const double *relative = desk.relative[turn];
            if (!(relative[1] > relative[2] && desk.off[turn] < best))
                continue;
            best = desk.off[turn];
            ring(desk.crystal.a, turn, chosen.a);
            ring(desk.crystal.a, turn + 2, chosen.a + 2);
            for (int k = 0; k < 3; k++)
                chosen.heights[k] = relative[k];
        }
        desk.crystal = chosen;
        desk.valid = best < 360.0;
        desk.again = !(chosen.heights[1] < equal || best <= 30.0);
    }
    __syncthreads();
}

/* Slope of the line through logarithms `y` over `x` by weighted sums, as numpy.linalg.lstsq has it.
 *
 * Rows: weight, weight x, weight y, then weight (x - mean)^2, weight (x - mean)(y - mean), weight x^2.
 * Where the frequencies do not differ beyond rounding the shortest solution is taken, as there.
 */
__device__ static double slope_of(const double *s, int number)
{
    double trace = s[0] + s[5], product = sqrt(s[0] * s[3]), mean = s[1] / s[0];
    double greatest = 0.5 * (trace + sqrt(max(trace * trace - 4.0 * product * product, 0.0)));
    if (product <= 2.220446049250313e-16 * max(number, 2) * greatest)
        return s[2] / s[0] * mean / (1.0 + mean * mean);
    return s[4] / s[3];
}

/* Width and height of the host column into `profile`; twin: columns.column_profile.
 *
 * Leaves the crystal's mean above its empty site, order._mean_above_empty, in the third number.
 * `valid` ends where no harmonic stands out.
 */
__device__ static void measure_column(
    Desk &desk, int number, double noise, double narrow, double wide, double *profile)
{
    const double *a = desk.crystal.a, *s = desk.sums;
    double empty[2];
    site(desk.crystal, 0, 2, empty);
    for (int which = threadIdx.x; which < number; which += blockDim.x) {
        const Wave &wave = desk.waves[which];
        double real, imaginary, amplitude = hypot(wave.real, wave.imaginary);
        double h = rint(wave.x * a[0] + wave.y * a[1]), k = rint(wave.x * a[2] + wave.y * a[3]);
        structure(desk.crystal.heights, h, k, &real, &imaginary);
        double factor = hypot(real, imaginary), above = amplitude * amplitude - 2.0 * noise * noise;
        double weight = factor > 0.1 && !(above <= 0.0) ? above : 0.0;
        double x = -0.5 * TAU * TAU * (wave.x * wave.x + wave.y * wave.y);
        double y = log(max(amplitude, 1e-30) / max(factor, 0.1));
        double *term = desk.terms + which;
        term[0] = weight;
        term[MOST] = weight * x;
        term[2 * MOST] = weight * y;
        term[3 * MOST] = motif_at(wave, empty);
        term[6 * MOST] = x;
        term[7 * MOST] = y;
    }
    add_up(desk, 4, number);
    profile[2] = -s[3];
    double across = s[1] / s[0], along = s[2] / s[0];
    for (int which = threadIdx.x; which < number; which += blockDim.x) {
        double *term = desk.terms + which, weight = term[0];
        double off = term[6 * MOST] - across, beside = term[7 * MOST] - along;
        term[3 * MOST] = weight * off * off;
        term[4 * MOST] = weight * off * beside;
        term[5 * MOST] = weight * term[6 * MOST] * term[6 * MOST];
    }
    add_up(desk, 6, number);
    double constant = sqrt(2.0 * fabs(area(a)) / sqrt(3.0));
    double low = narrow * constant, high = wide * constant;
    double square = slope_of(s, number), sigma = sqrt(min(max(square, low * low), high * high));
    /* the height that belongs to this width */
    double level = exp((s[2] - sigma * sigma * s[1]) / s[0]);
    profile[0] = sigma;
    profile[1] = level * fabs(area(a)) / (TAU * sigma * sigma);
    if (threadIdx.x == 0)
        desk.valid = desk.valid && s[0] > 0.0;
    __syncthreads();
}

/* Whether later stages can compute with it: true of every lattice that a frame can show. */
__device__ static bool sound(const Crystal &crystal, const double *profile, double reach)
{
    double constant = sqrt(2.0 * fabs(area(crystal.a)) / sqrt(3.0));
    bool holds = constant >= 1.0 && constant <= reach;
    for (int k = 0; k < 4; k++)
        holds = holds && fabs(crystal.a[k]) <= reach;
    for (int k = 0; k < 2; k++)
        holds = holds && fabs(crystal.origin[k]) <= 2.0 * reach;
    for (int k = 0; k < 3; k++)
        holds = holds && fabs(crystal.heights[k]) < 1e9 && fabs(profile[k]) < 1e30;
    return holds && profile[0] > 0.0;
}

/* Part of a column that the filter takes for periodic; twin: periodic.leaked. */
__device__ static double leaked(
    Desk &desk, double sigma, double window, double smoothing, double highest, int shell)
{
    double b[4], width = 1.0 / (TAU * window);
    reciprocal_of(desk.crystal.a, b);
    int turn = b[0] * b[2] + b[1] * b[3] > 0.0 ? 1 : -1;
    for (int index = threadIdx.x; index < (SPAN + 1) * (2 * SPAN + 1); index += blockDim.x) {
        int h = index / (2 * SPAN + 1), k = index % (2 * SPAN + 1) - SPAN;
        double x = h * b[0] + k * b[2], y = h * b[1] + k * b[3], scale = TAU * sigma;
        bool taken = (h > 0 || k > 0) && h * h + k * k + turn * h * k <= shell;
        taken = taken && max(fabs(x), fabs(y)) < highest;
        desk.terms[h * MOST + k + SPAN] = taken ? exp(-scale * scale * (x * x + y * y)) : 0.0;
    }
    add_up(desk, SPAN + 1, 2 * SPAN + 1);
    double total = 0.0;
    for (int h = 0; h <= SPAN; h++)
        total += 2.0 * desk.sums[h]; /* both of each pair */
    return TAU * (width * width * total + smoothing * smoothing) * 2.0 * TAU * sigma * sigma;
}

extern "C" __global__ void __launch_bounds__(FEW) registration(
    const double *harmonics, int room, int rows, int columns, /* (room, 4): indices, amplitude */
    int side, int rounds, double equal,                       /* registration's constants */
    double narrow, double wide,                               /* columns.SIGMA_BOUNDS */
    double padding, double least_cells, double most_cells,    /* periodic's window */
    double smoothing_cells, double highest, int shell,        /* its mean, and its nodes */
    double served, double low, double high, double step,      /* patches.scale_for, its logarithm */
    double *facts)
{
    __shared__ Desk desk;
    double profile[3], noise = facts[FACT_HARMONIC_NOISE];
    int number = 0;
    if (facts[FACT_REFUSAL] == 0.0 && facts[FACT_HARMONICS] >= 1.0)
        number = (int)min(facts[FACT_HARMONICS], (double)min(room, MOST));
    for (int k = threadIdx.x; k < number; k += blockDim.x) {
        const double *given = harmonics + 4 * k, *b = facts + FACT_RECIPROCAL;
        double x = given[0] * b[0] + given[1] * b[2], y = given[0] * b[1] + given[1] * b[3];
        desk.waves[k] = {given[0], given[1], x, y, given[2], given[3]};
    }
    if (threadIdx.x == 0) {
        reciprocal_of(facts + FACT_RECIPROCAL, desk.crystal.a);
        desk.crystal.origin[0] = desk.crystal.origin[1] = 0.0;
    }
    brightest(desk, min(side, SIDE), number);
    for (int k = 0; k < rounds; k++)
        refine(desk, number);
    turn_to_x(desk, number, 1.0 - equal);
    if (desk.again) {
        if (threadIdx.x == 0) {
            double point[2];
            site(desk.crystal, 0, 1, point);
            desk.crystal.origin[0] = point[0];
            desk.crystal.origin[1] = point[1];
        }
        __syncthreads();
        turn_to_x(desk, number, 1.0 - equal);
    }
    if (threadIdx.x == 0)
        move_to_centre(&desk.crystal, rows, columns);
    __syncthreads();
    measure_column(desk, number, noise, narrow, wide, profile);
    bool fit = desk.valid && sound(desk.crystal, profile, rows + columns);
    __syncthreads();
    if (!fit) {
        if (threadIdx.x == 0) {
            const double constant = 10.0, aside = 8.660254037844386;
            refuse(facts, REFUSAL_NO_HARMONIC);
            desk.crystal = {{constant, 0.0, -0.5 * constant, aside},
                {0.5 * (columns - 1), 0.5 * (rows - 1)}, {1.0, 0.0, 0.0}};
        }
        profile[0] = 2.0;
        profile[1] = profile[2] = 1.0;
        __syncthreads();
    }
    const Crystal &found = desk.crystal;
    double constant = sqrt(2.0 * fabs(area(found.a)) / sqrt(3.0));
    double held = min(rows, columns) / 3.0 / padding / constant;
    double window = min(max(held, least_cells), most_cells) * constant;
    double mean = 1.0 / (TAU * smoothing_cells * constant);
    double leak = leaked(desk, profile[0], window, mean, highest, shell);
    if (threadIdx.x != 0)
        return;
    for (int k = 0; k < 4; k++)
        facts[FACT_VECTORS + k] = found.a[k];
    for (int k = 0; k < 2; k++)
        facts[FACT_ORIGIN + k] = found.origin[k];
    for (int k = 0; k < 3; k++)
        facts[FACT_HEIGHTS + k] = found.heights[k];
    cover(found, rows, columns, facts + FACT_FIRST_CELL, facts + FACT_CELLS);
    double factor = served / constant;
    bool kept = low <= 1.0 / factor && 1.0 / factor <= high;
    facts[FACT_CONSTANT] = constant;
    facts[FACT_ABOVE_EMPTY] = profile[2];
    facts[FACT_SIGMA] = profile[0];
    facts[FACT_HEIGHT] = profile[1];
    facts[FACT_WINDOW] = window;
    facts[FACT_LEAK] = fit ? leak : 0.05;
    facts[FACT_FACTOR] = fit && !kept ? exp(rint(log(factor) / step) * step) : 1.0;
}
