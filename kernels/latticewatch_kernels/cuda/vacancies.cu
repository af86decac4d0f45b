/* Vacancies told by what their columns lack.
 *
 * Twins in latticewatch.vacancies: network_evidence, judge_vacancies and best_threshold. All in double
 * precision, sums in a fixed order.
 */

#include "lists.cuh"
#include "odds.cuh"
#include "weights.cuh"

#define LARGEST 60.0 /* logarithms of odds count no further */
#define WEIGHING 512 /* threads to a frame: with more, they wait for each other longer than they work */

/* What the column of each judged site says: logit of the network there, and evidence of each amount;
 * a thread to a site. */
extern "C" __global__ void columns_heard(
    double *facts, const double *by, const int *every, const double *everywhere,
    const double *deviation, const double *error, int sites, int room, /* (sites) */
    const float *heat, int high, int wide, int stride, int *cells, double *points,
    double *logit, char *bright, double *intensity, double *ratio, double *odd) /* (room), (room, k) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x, begin, all;
    if (index >= room)
        return;
    int number = judged_sites(facts, sites, room, &begin), amounts = (int)by[W_AMOUNTS];
    if (index == 0 && judged_sites(facts, sites, sites, &all) > room)
        refuse(facts, REFUSAL_NO_ROOM);
    logit[index] = intensity[index] = odd[index] = bright[index] = 0;
    for (int axis = 0; axis < 2; axis++)
        cells[2 * index + axis] = points[2 * index + axis] = 0;
    for (int k = 0; k < amounts; k++)
        ratio[amounts * index + k] = 0.0;
    if (index >= number)
        return;
    int site = begin + index;
    for (int axis = 0; axis < 2; axis++) {
        cells[2 * index + axis] = every[2 * site + axis];
        points[2 * index + axis] = everywhere[2 * site + axis];
    }
    double value = deviation[site], host = facts[FACT_HOST + LOCAL], factor = facts[FACT_FACTOR];
    double sure = max(error[site], 1e-12), variance = sure * sure, evidence = by[W_EVIDENCE];
    float place[2];
    for (int axis = 0; axis < 2; axis++) {
        double seen = (points[2 * index + axis] + 0.5) * factor - 0.5;
        place[axis] = (float)((seen - 0.5 * (stride - 1)) / stride);
    }
    logit[index] = logit_at(heat, high, wide, (float)by[W_SUREST], place[0], place[1]);
    bright[index] = value > by[W_BRIGHT_SIGMAS] * error[site];
    intensity[index] = host + value;
    for (int k = 0; k < amounts; k++) {
        double amount = host * by[W_LACKING + k];
        ratio[amounts * index + k] = -evidence * (value + 0.5 * amount) * amount / variance;
    }
    double amount = host * (by[W_ODD_LEVEL] * by[W_LACKING]);
    odd[index] = -evidence * (value + 0.5 * amount) * amount / variance;
}

/* Join so many numbers from one on, every `step`-th: four at a time, for each waits for the last. */
__device__ static double joined_from(const double *first, int step, int number, bool greatest)
{
    double parts[4];
    for (int k = 0; k < 4; k++)
        parts[k] = greatest ? -BEYOND : 0.0;
    #pragma unroll 1
    for (int begin = 0; begin < number; begin += 4)
        for (int k = 0; k < 4 && begin + k < number; k++) {
            double other = first[step * (begin + k)];
            parts[k] = greatest ? max(parts[k], other) : parts[k] + other;
        }
    if (greatest)
        return max(max(parts[0], parts[1]), max(parts[2], parts[3]));
    return (parts[0] + parts[1]) + (parts[2] + parts[3]);
}

/* What all threads have of so many numbers, added up, or the greatest of each; all threads of a block.
 *
 * A warp to each number joins what lies a warp apart, and then what its lanes have: sums of double
 * precision by all would take longer than to wait for a few. No template: each of its instances would
 * have shared memory of its own.
 */
__device__ static inline void all_joined(double *own, int number, bool greatest) /* (AMOUNTS) */
{
    __shared__ double parts[AMOUNTS][WEIGHING], joined[AMOUNTS];
    for (int a = 0; a < AMOUNTS; a++)
        if (a < number)
            parts[a][threadIdx.x] = own[a];
    __syncthreads();
    for (int k = threadIdx.x; k < number * WARP; k += blockDim.x) {
        double part = joined_from(parts[k / WARP] + k % WARP, WARP, blockDim.x / WARP, greatest);
        for (int other = WARP / 2; other > 0; other /= 2) {
            double theirs = of_lane(part, other);
            part = greatest ? max(part, theirs) : part + theirs;
        }
        if (k % WARP == 0)
            joined[k / WARP] = part;
    }
    __syncthreads();
    for (int a = 0; a < AMOUNTS; a++)
        if (a < number)
            own[a] = joined[a];
}

/* Sums over the numbers from 0 to number - 1, of what `add` adds to them for each. */
template <class Add>
__device__ static void sums_over(Add add, int number, double *sums, int wanted) /* (AMOUNTS) */
{
    for (int a = 0; a < AMOUNTS; a++)
        sums[a] = 0.0;
    for (int k = threadIdx.x; k < number; k += blockDim.x)
        add(k, sums);
    all_joined(sums, wanted, false);
}

template <class At> __device__ static double sum_over(At at, int number)
{
    double sums[AMOUNTS];
    sums_over([=](int k, double *sum) { sum[0] += at(k); }, number, sums, 1);
    return sums[0];
}

/* What the network's logits say beyond the columns themselves; all threads of a block.
 *
 * In place of the logits: logarithms of likelihood ratios, whose mean is 1 as a ratio. A thread reads
 * and writes columns of its own alone.
 */
__device__ static void network_evidence(
    const double *by, const double *deviation, const double *error, int number, double *logit,
    double *sigma) /* (number), scratch */
{
    double sigmas = by[W_LOGIT_SIGMAS], weight = by[W_SITE_WEIGHT], longest = by[W_LONGEST_LOGIT];
    for (int first = threadIdx.x; first < number; first += AT_ONCE * blockDim.x) {
        double off[AT_ONCE], sure[AT_ONCE];
        for (int j = 0; j < AT_ONCE; j++) {
            int k = min(first + j * (int)blockDim.x, number - 1);
            off[j] = deviation[k];
            sure[j] = max(error[k], 1e-12);
        }
        for (int j = 0; j < AT_ONCE; j++)
            if (first + j * (int)blockDim.x < number)
                sigma[first + j * blockDim.x] = off[j] / sure[j];
    }
    auto z = [=](int k) { return sigma[k]; };
    auto usual = [=](int k) { return fabs(z(k)) < sigmas; };
    double usuals[AMOUNTS], moments[AMOUNTS];
    sums_over(
        [=](int k, double *sums) {
            sums[0] += usual(k) ? 1.0 : 0.0;
            sums[1] += usual(k) ? z(k) : 0.0;
            sums[2] += usual(k) ? logit[k] : 0.0;
        },
        number, usuals, 3);
    double known = usuals[0], centre = usuals[1] / known, level = usuals[2] / known;
    if (weight == 0.0 || known < 3.0) {
        for (int k = threadIdx.x; k < number; k += blockDim.x)
            logit[k] = 0.0;
        return;
    }
    sums_over(
        [=](int k, double *sums) {
            double off = usual(k) ? z(k) - centre : 0.0;
            sums[0] += off * off;
            sums[1] += off * (logit[k] - level);
        },
        number, moments, 2);
    double spread = moments[0], both = moments[1];
    double slope = spread > 0.0 ? both / spread : 0.0, base = level - slope * centre;
    for (int k = threadIdx.x; k < number; k += blockDim.x)
        logit[k] = weight * min(max(logit[k] - base - slope * z(k), -longest), longest);
    double shift = log(sum_over([=](int k) { return exp(logit[k]); }, number) / number);
    for (int k = threadIdx.x; k < number; k += blockDim.x)
        logit[k] -= shift;
}

/* Threshold that makes the expected F1 greatest; all threads of a block.
 *
 * Only columns that are likely enough to be reported with any threshold are compared with one another.
 * Of equals all count: along them the F1 rises or falls throughout, and along the likeliest it rises.
 */
__device__ static double best_threshold(
    const double *by, const double *probability, int number,
    int *likely, double *others) /* (number) each, scratch */
{
    double least = by[W_LEAST_THRESHOLD], best[AMOUNTS] = {-BEYOND};
    double total = sum_over([=](int k) { return probability[k]; }, number);
    int most = listed_where([=](int k) { return probability[k] >= least; }, number, number, likely);
    __syncthreads();
    for (int k = threadIdx.x; k < most; k += blockDim.x)
        others[k] = probability[likely[k]];
    __syncthreads();
    for (int k = threadIdx.x; k < most; k += blockDim.x) {
        double own = others[k], sum = 0.0;
        int counts = 0;
        for (int j = 0; j < most; j++) {
            double other = others[j];
            sum += other >= own ? other : 0.0;
            counts += other >= own;
        }
        best[0] = max(best[0], 2.0 * sum / (counts + total));
    }
    all_joined(best, 1, true);
    return max(0.5 * best[0], least);
}

/* Odds of each amount at a column, times their shares, and 0 of amounts that there are none of; gives
 * their sum. Loops that end where all know need no memory for what they go through. */
__device__ static inline double shared_odds(
    const double *odds, const double *share, int amounts, int k, double *own) /* (AMOUNTS) */
{
    double weight = 0.0;
    for (int a = 0; a < AMOUNTS; a++) {
        own[a] = 0.0;
        if (a < amounts) {
            own[a] = share[a] * odds[amounts * k + a];
            weight += own[a];
        }
    }
    return weight;
}

/* Called, and not written out at each place: an exponential is long. */
__device__ static __noinline__ double odds_of(double claim)
{
    return exp(min(max(claim, -LARGEST), LARGEST));
}

/* Odds of each amount at each column, by what the column and the network say of it; all threads of a
 * block, each for columns of its own. */
__device__ static void find_odds(
    const double *by, double host, const double *error, const double *logit, const double *ratio,
    int amounts, int number, double *odds)
{
    double evidence = by[W_EVIDENCE];
    double over = by[W_OVERCLAIM] * 0.5 * (evidence * evidence - evidence);
    for (int first = threadIdx.x; first < number; first += AT_ONCE * blockDim.x) {
        double sure[AT_ONCE], further[AT_ONCE], known[AT_ONCE][AMOUNTS];
        for (int j = 0; j < AT_ONCE; j++) {
            int next = first + j * blockDim.x, k = next < number ? next : first; /* its own */
            sure[j] = max(error[k], 1e-12);
            further[j] = logit[k];
            for (int a = 0; a < AMOUNTS; a++)
                known[j][a] = ratio[amounts * k + min(a, amounts - 1)];
        }
        for (int j = 0; j < AT_ONCE; j++) {
            double narrow = over / (sure[j] * sure[j]);
            for (int a = 0; a < AMOUNTS; a++) {
                int k = first + j * blockDim.x;
                if (a >= amounts || k >= number)
                    continue;
                double amount = host * by[W_LACKING + a];
                odds[amounts * k + a] = odds_of(known[j][a] - narrow * (amount * amount) + further[j]);
            }
        }
    }
}

/* Probability that each judged column lacks something, by expectation and maximisation; one block. */
extern "C" __global__ void __launch_bounds__(WEIGHING) columns_weighed(
    double *facts, const double *by, const double *deviation, const double *error, int sites,
    int room, double *logit, const double *ratio, double *odds, /* (room), (room, k), scratch of its size */
    int *likely, double *probability)                           /* (room), scratch, and (room) */
{
    int begin, amounts = (int)by[W_AMOUNTS], steps = (int)by[W_STEPS];
    int number = judged_sites(facts, sites, room, &begin);
    deviation += begin;
    error += begin;
    for (int k = number + threadIdx.x; k < room; k += blockDim.x)
        probability[k] = 0.0;
    network_evidence(by, deviation, error, number, logit, probability);
    find_odds(by, facts[FACT_HOST + LOCAL], error, logit, ratio, amounts, number, odds);
    double share[AMOUNTS], expected[AMOUNTS], all = 0.0, common = by[W_EXPECTED_SHARE];
    for (int a = 0; a < AMOUNTS; a++) {
        expected[a] = share[a] = a < amounts ? common : 0.0;
        all += share[a];
        common *= by[W_RARER];
    }
    double every = by[W_EXPECTED_SITES], part = 1.0 / (number + every);
    for (int step = 0; step < steps; step++) {
        double mass[AMOUNTS];
        sums_over(
            [=](int k, double *sums) {
                double own[AMOUNTS], weight = shared_odds(odds, share, amounts, k, own);
                double inverse = 1.0 / (1.0 - all + weight);
                for (int a = 0; a < AMOUNTS; a++)
                    if (a < amounts)
                        sums[a] += own[a] * inverse;
            },
            number, mass, amounts);
        all = 0.0;
        for (int a = 0; a < AMOUNTS; a++) {
            share[a] = a < amounts ? (mass[a] + every * expected[a]) * part : 0.0;
            all += share[a];
        }
    }
    for (int k = threadIdx.x; k < number; k += blockDim.x) {
        double own[AMOUNTS], weight = shared_odds(odds, share, amounts, k, own);
        probability[k] = weight / (1.0 - all + weight);
    }
    __syncthreads();
    double threshold = by[W_VACANCY_THRESHOLD];
    if (!(threshold >= 0.0))
        threshold = best_threshold(by, probability, number, likely, odds);
    if (threadIdx.x == 0) {
        facts[FACT_THRESHOLD] = threshold;
        for (int a = 0; a < AMOUNTS; a++)
            facts[FACT_SHARES + a] = share[a];
    }
}
