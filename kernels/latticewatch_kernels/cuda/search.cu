/* The lattice that explains a frame's Bragg peaks, found and told by the facts.
 *
 * Twins: spectrum._strongest, bragg._primitive_basis and harmonics.refine_and_measure. All is in
 * double precision.
 */

#include "facts.cuh"
#include "reciprocal.cuh"
#include "selection.cuh"

/* Places of maxima are less: bits that a number of single precision leaves free in a double. */
#define PLACES (1 << 29)

/* Reciprocal vectors of a lattice constant of 10 px, for the stages that follow a refusal. */
#define HARMLESS {0.11547005383792516, 0.0, 0.05773502691896258, 0.1}

/* Vertex of the parabola through the logarithms of three powers, in bins from the middle one. */
__device__ static double vertex(float before, float here, float after)
{
    double low = log(before + 1e-30), middle = log(here + 1e-30), high = log(after + 1e-30);
    double curvature = min(low - 2.0 * middle + high, -1e-6);
    return min(max(0.5 * (low - high) / curvature, -0.5), 0.5);
}

/* A maximum by its key, which rises with its value and falls with its place; 0 where it is out. */
struct Maximum {
    Bits key;
    int index, column, row;
};

__device__ static inline Maximum maximum_at(
    const int *place, const float *said, int index, int columns, int rows)
{
    int at = place[index];
    float value = said[10 * index];
    Bits key = value > 0.0f ? rising((double)value) | (Bits)(PLACES - 1 - at) : 0;
    return {key, index, at % columns, at / columns - rows / 2};
}

#define OWN 4 /* maxima that a thread keeps */

/* Peaks among the maxima, strongest first: what lies near one that is kept, or near its mirror image,
 * belongs to it. Of equals the first in reading order is the strongest. One block; what a peak is
 * told by is worked out last, for all at once.
 */
extern "C" __global__ void __launch_bounds__(TOGETHER) strongest(
    const int *number, const int *place, float *said, /* of maxima.cu; values are written over */
    int room, int rows, int columns, int width,       /* of the half plane; pixels of a row */
    double periods, double apart, double bins, double part, int most,
    double *facts, double *peaks) /* (most, 4): x, y, weight, tolerance in bins */
{
    int found = number[0], kept = 0, thread = threadIdx.x, threads = blockDim.x;
    if (found > room) {
        if (thread == 0)
            refuse(facts, REFUSAL_NO_ROOM);
        found = 0; /* which of them found room is chance */
    }
    for (int k = thread; k < found; k += threads) {
        double x = place[k] % columns, y = place[k] / columns - rows / 2;
        if (!(hypot(x / width, y / rows) * min(width, rows) >= periods))
            said[10 * k] = 0.0f;
    }
    Maximum own[OWN];
    for (int j = 0; j < OWN; j++) {
        int k = thread + j * threads;
        own[j] = k < found ? maximum_at(place, said, k, columns, rows) : Maximum{0, 0, 0, 0};
    }
    int near = (int)floor(apart * apart), column = 0, row = 0;
    for (; kept < most; kept++) {
        Bits best = 0;
        int index = 0;
        auto weigh = [&](Maximum &maximum) {
            for (int sign = -1; sign < 2 && kept > 0 && maximum.key > 0; sign += 2) {
                int x = column + sign * maximum.column, y = row + sign * maximum.row;
                if (x * x + y * y <= near) {
                    maximum.key = 0;
                    said[10 * maximum.index] = 0.0f;
                }
            }
            index = maximum.key > best ? maximum.index : index;
            best = max(best, maximum.key);
        };
        for (int j = 0; j < OWN; j++)
            weigh(own[j]);
        for (int k = thread + OWN * threads; k < found; k += threads) {
            Maximum further = maximum_at(place, said, k, columns, rows);
            weigh(further);
        }
        Bits strongest = greatest(best);
        if (strongest == 0)
            break;
        int at = PLACES - 1 - (int)(strongest % PLACES);
        column = at % columns;
        row = at / columns - rows / 2;
        if (best == strongest) {
            double *peak = peaks + 4 * kept;
            peak[0] = column;
            peak[1] = row;
            peak[2] = from_rising(strongest - strongest % PLACES);
            peak[3] = index;
        }
    }
    __syncthreads();
    for (int k = thread; k < kept; k += threads) {
        double *peak = peaks + 4 * k;
        const float *around = said + 10 * (int)peak[3] + 1;
        peak[0] = (peak[0] + vertex(around[3], around[4], around[5])) / width;
        peak[1] = (peak[1] + vertex(around[1], around[4], around[7])) / rows;
        peak[2] = sqrt(peak[2]);
        peak[3] = bins + part * hypot(peak[0] * width, peak[1] * rows);
    }
    if (thread != 0)
        return;
    facts[FACT_PEAKS] = kept;
    if (kept < 2)
        refuse(facts, REFUSAL_FEW_PEAKS);
}

/* Whether two vectors could be neighbours in the first ring of a sheared hexagonal lattice. */
__device__ static bool hexagonal(
    const double *basis, double low, double high, double longest, double ratio)
{
    double third[2] = {basis[2] - basis[0], basis[3] - basis[1]};
    double one = max(hypot(basis[0], basis[1]), 1e-12);
    double two = max(hypot(basis[2], basis[3]), 1e-12);
    double three = max(hypot(third[0], third[1]), 1e-12);
    double cosine = dot(basis, basis + 2) / (one * two), most = max(max(one, two), three);
    return cosine >= low && cosine <= high && most <= longest &&
           most <= ratio * min(min(one, two), three);
}

/* Whether a bin next to a frequency of less than half a cycle per pixel reached the level. */
__device__ static bool reached_near(
    const char *reached, int rows, int columns, int width, double x, double y)
{
    double sign = x < 0.0 ? -1.0 : 1.0;
    int column = (int)rint(sign * x * width), row = (int)rint(sign * y * rows) + rows / 2;
    for (int k = 0; k < 9; k++) {
        int down = ((row + k / 3 - 1) % rows + rows) % rows;
        int right = min(abs(column + k % 3 - 1), columns - 1);
        if (reached[(long long)down * columns + right])
            return true;
    }
    return false;
}

/* Fit a basis to all peaks that it explains: normal equations in closed form. */
__device__ static void refit(double *basis, const double *peaks, int number, int rows, int width)
{
    double a = 0.0, b = 0.0, d = 0.0, right[4] = {0.0, 0.0, 0.0, 0.0}, node[2];
    for (int k = 0; k < number; k++) {
        const double *peak = peaks + 4 * k;
        if (!explains(basis, peak, rows, width, node))
            continue;
        a += peak[2] * node[0] * node[0];
        b += peak[2] * node[0] * node[1];
        d += peak[2] * node[1] * node[1];
        for (int axis = 0; axis < 2; axis++) {
            right[axis] += peak[2] * node[0] * peak[axis];
            right[2 + axis] += peak[2] * node[1] * peak[axis];
        }
    }
    for (int axis = 0; axis < 2; axis++) {
        basis[axis] = (d * right[axis] - b * right[2 + axis]) / (a * d - b * b);
        basis[2 + axis] = (a * right[2 + axis] - b * right[axis]) / (a * d - b * b);
    }
}

/* How well the lattice that two peaks span explains all; a thread to a pair. */
extern "C" __global__ void pairs(
    const double *facts, const double *peaks, int most, /* (most, 4) */
    const char *reached, int rows, int columns, int width,
    double low, double high, double longest, double ratio, double chance, double share,
    double *bases) /* (2 most most, 6): basis, score, size of a cell; score 0 where it is none */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= 2 * most * most)
        return;
    int number = min((int)facts[FACT_PEAKS], most);
    double *judged = bases + 6 * index, basis[4], node[2];
    for (int k = 0; k < 6; k++)
        judged[k] = 0.0;
    if (number < 2 || index >= 2 * number * number)
        return;
    const double *first = peaks + 4 * (index / (2 * number));
    const double *second = peaks + 4 * (index % number);
    double sign = index % (2 * number) < number ? 1.0 : -1.0;
    for (int axis = 0; axis < 2; axis++) {
        basis[axis] = first[axis];
        basis[2 + axis] = sign * second[axis];
    }
    double x = basis[2] - basis[0], y = basis[3] - basis[1];
    if (!hexagonal(basis, low, high, longest, ratio) ||
        !reached_near(reached, rows, columns, width, x, y))
        return;
    refit(basis, peaks, number, rows, width);
    double cell = fabs(determinant(basis)), explained = 0.0, by_chance = 0.0, total = 0.0;
    for (int k = 0; k < number; k++) {
        const double *peak = peaks + 4 * k;
        if (explains(basis, peak, rows, width, node))
            explained += peak[2];
        by_chance += peak[3] * peak[3] * peak[2];
        total += peak[2];
    }
    by_chance *= 3.141592653589793 / (cell * width * rows);
    if (by_chance <= chance * total && explained >= share * total && explained > by_chance) {
        for (int k = 0; k < 4; k++)
            judged[k] = basis[k];
        judged[4] = explained - by_chance;
        judged[5] = cell;
    }
}

/* Of the bases that explain as much as the best that with the largest cell, reduced; one block. */
extern "C" __global__ void __launch_bounds__(TOGETHER) primitive(
    const double *bases, int number, double equal, double *facts)
{
    double best = 0.0, cell = 0.0;
    for (int k = threadIdx.x; k < number; k += blockDim.x)
        best = max(best, bases[6 * k + 4]);
    double least = equal * greatest(best);
    for (int k = threadIdx.x; k < number; k += blockDim.x)
        if (bases[6 * k + 4] >= least)
            cell = max(cell, bases[6 * k + 5]);
    cell = greatest(cell);
    int left = 0; /* bases from the first such one on */
    for (int k = threadIdx.x; k < number; k += blockDim.x)
        if (cell > 0.0 && bases[6 * k + 4] >= least && bases[6 * k + 5] == cell)
            left = max(left, number - k);
    left = greatest(left);
    if (threadIdx.x != 0)
        return;
    double basis[4] = HARMLESS;
    if (left == 0)
        refuse(facts, REFUSAL_NOT_HEXAGONAL);
    else
        for (int k = 0; k < 4; k++)
            basis[k] = bases[6 * (number - left) + k];
    reduce_basis(basis, facts + FACT_RECIPROCAL);
}

/* Nodes below a limit along both axes, among the first so many. */
__device__ static int inside(const double *basis, const int *nodes, int number, double limit)
{
    int found = 0;
    for (int k = 0; k < number; k++) {
        double h = nodes[2 * k], i = nodes[2 * k + 1];
        found += fabs(h * basis[0] + i * basis[2]) < limit && fabs(h * basis[1] + i * basis[3]) < limit;
    }
    return found;
}

/* Tell what was found, with the harmonics below the limit; of a refused frame, none. One block. */
extern "C" __global__ void __launch_bounds__(TOGETHER) told(
    const double *peaks, int most, int rows, int width, /* of the part that was searched */
    const int *nodes, const double *amplitudes, int number, double limit, /* (number, 2) each */
    double by_spread,                 /* noise of an amplitude over the image's deviation */
    double *facts, double *harmonics) /* (number, 4): node, real part, imaginary part */
{
    double basis[4] = HARMLESS, node[2], significance = 0.0;
    bool usable = facts[FACT_REFUSAL] == REFUSAL_NONE;
    for (int k = 0; k < 4; k++)
        usable = usable && fabs(facts[FACT_RECIPROCAL + k]) <= 1.0;
    for (int k = 0; k < 4 && usable; k++)
        basis[k] = facts[FACT_RECIPROCAL + k];
    int indexed = usable ? min((int)facts[FACT_PEAKS], most) : 0;
    for (int k = threadIdx.x; k < indexed; k += blockDim.x)
        if (explains(basis, peaks + 4 * k, rows, width, node))
            significance = max(significance, peaks[4 * k + 2]);
    significance = greatest(significance); /* here all have read the facts */
    int kept = usable ? inside(basis, nodes, number, limit) : 0;
    for (int k = threadIdx.x; k < number; k += blockDim.x) {
        int before = usable ? inside(basis, nodes, k, limit) : 0;
        bool own = usable && inside(basis, nodes + 2 * k, 1, limit);
        double *row = harmonics + 4 * (own ? before : kept + k - before);
        for (int part = 0; part < 2; part++) {
            row[part] = own ? nodes[2 * k + part] : 0.0;
            row[2 + part] = own ? amplitudes[2 * k + part] : 0.0;
        }
    }
    if (threadIdx.x != 0)
        return;
    if (!usable)
        refuse(facts, REFUSAL_NOT_HEXAGONAL); /* where steps led nowhere */
    for (int k = 0; k < 4; k++)
        facts[FACT_RECIPROCAL + k] = basis[k];
    facts[FACT_SIGNIFICANCE] = significance;
    facts[FACT_HARMONICS] = kept;
    facts[FACT_HARMONIC_NOISE] = usable ? by_spread * facts[FACT_STATISTICS + 1] : 0.0;
}
