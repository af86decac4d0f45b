/* Vacancies told by what their columns lack, and the points that a frame reports.
 *
 * Twins in latticewatch.vacancies: network_evidence, judge_vacancies, best_threshold,
 * outstanding_columns and combine. All in double precision, sums in a fixed order.
 */

#include "selection.cuh"
#include "displaced.cuh"
#include "odds.cuh"
#include "sites.cuh"

#define AMOUNTS 4    /* most shares of itself that a column may lack */
#define LOCAL 1      /* the sublattice that is judged */
#define LARGEST 60.0 /* logarithms of odds count no further */

/* Constants, in the order of resident.vacancies.Weighing. */
enum Weight {
    W_THRESHOLD, W_VACANCY_THRESHOLD, W_LEAST_HOST, W_SITE_WEIGHT, W_SUREST, W_EVIDENCE, W_OVERCLAIM,
    W_ODD_LEVEL, W_EXPECTED_SHARE, W_EXPECTED_SITES, W_RARER, W_STEPS, W_LEAST_THRESHOLD,
    W_BRIGHT_SIGMAS, W_LOGIT_SIGMAS, W_LONGEST_LOGIT, W_OUTSTANDING_SIGMAS, W_LEAST_ADATOM,
    W_COVERED_LEVEL, W_OUTSTANDING_RANGE, W_AMOUNTS, W_LACKING
};

/* Where the judged sublattice begins among `sites`, and how many of it there are, as far as there is
 * room; they are numbered from 0 on. */
__device__ static inline int judged_sites(const double *facts, int sites, int room, int *begin)
{
    int total = counted(facts, FACT_SITES, sites);
    *begin = min(counted(facts, FACT_STARTS + LOCAL, sites), total);
    int number = min(counted(facts, FACT_STARTS + LOCAL + 1, sites), total) - *begin;
    return min(max(number, 0), room);
}

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

template <class At> __device__ static double sum_over(At at, int number)
{
    double part = 0.0;
    for (int k = threadIdx.x; k < number; k += blockDim.x)
        part += at(k);
    return summed(part);
}

template <class At> __device__ static double greatest_over(At at, int number)
{
    __shared__ double best[TOGETHER];
    double own = -BEYOND;
    for (int k = threadIdx.x; k < number; k += blockDim.x)
        own = max(own, at(k));
    __syncthreads();
    best[threadIdx.x] = own;
    __syncthreads();
    for (int width = blockDim.x / 2; width > 0; width /= 2) {
        if (threadIdx.x < width)
            best[threadIdx.x] = max(best[threadIdx.x], best[threadIdx.x + width]);
        __syncthreads();
    }
    return best[0];
}

/* What the network's logits say beyond the columns themselves; all threads of a block.
 *
 * In place of the logits: logarithms of likelihood ratios, whose mean is 1 as a ratio.
 */
__device__ static void network_evidence(
    const double *by, const double *deviation, const double *error, int number, double *logit)
{
    double sigmas = by[W_LOGIT_SIGMAS], weight = by[W_SITE_WEIGHT], longest = by[W_LONGEST_LOGIT];
    auto z = [=](int k) { return deviation[k] / max(error[k], 1e-12); };
    auto usual = [=](int k) { return fabs(z(k)) < sigmas ? 1.0 : 0.0; };
    double known = sum_over(usual, number);
    if (weight == 0.0 || known < 3.0) {
        for (int k = threadIdx.x; k < number; k += blockDim.x)
            logit[k] = 0.0;
        __syncthreads();
        return;
    }
    double centre = sum_over([=](int k) { return usual(k) > 0.0 ? z(k) : 0.0; }, number) / known;
    double level = sum_over([=](int k) { return usual(k) > 0.0 ? logit[k] : 0.0; }, number) / known;
    auto off = [=](int k) { return usual(k) > 0.0 ? z(k) - centre : 0.0; };
    double spread = sum_over([=](int k) { return off(k) * off(k); }, number);
    double both = sum_over([=](int k) { return off(k) * (logit[k] - level); }, number);
    double slope = spread > 0.0 ? both / spread : 0.0, base = level - slope * centre;
    __syncthreads();
    for (int k = threadIdx.x; k < number; k += blockDim.x)
        logit[k] = weight * min(max(logit[k] - base - slope * z(k), -longest), longest);
    __syncthreads();
    double shift = log(sum_over([=](int k) { return exp(logit[k]); }, number) / number);
    __syncthreads();
    for (int k = threadIdx.x; k < number; k += blockDim.x)
        logit[k] -= shift;
    __syncthreads();
}

/* Threshold that makes the expected F1 greatest; all threads of a block. */
__device__ static double best_threshold(const double *by, const double *probability, int number)
{
    double least = by[W_LEAST_THRESHOLD];
    double total = sum_over([=](int k) { return probability[k]; }, number);
    double best = greatest_over(
        [=](int k) {
            double own = probability[k], sum = 0.0;
            int before = 0;
            if (!(own >= least))
                return 0.0;
            for (int j = 0; j < number; j++) {
                if (!(probability[j] > own || (probability[j] == own && j <= k)))
                    continue;
                sum += probability[j];
                before++;
            }
            return 2.0 * sum / (before + total);
        },
        number);
    return max(0.5 * best, least);
}

/* Probability that each judged column lacks something, by expectation and maximisation; one block. */
extern "C" __global__ void __launch_bounds__(TOGETHER) columns_weighed(
    double *facts, const double *by, const double *deviation, const double *error, int sites,
    int room, double *logit, const double *ratio, double *odds, /* (room), (room, k), scratch of its size */
    double *probability)                              /* (room) */
{
    int begin, amounts = (int)by[W_AMOUNTS], steps = (int)by[W_STEPS];
    int number = judged_sites(facts, sites, room, &begin);
    deviation += begin;
    error += begin;
    for (int k = threadIdx.x; k < room; k += blockDim.x)
        probability[k] = 0.0;
    network_evidence(by, deviation, error, number, logit);
    double evidence = by[W_EVIDENCE], host = facts[FACT_HOST + LOCAL];
    double share[AMOUNTS], expected[AMOUNTS], all = 0.0;
    for (int a = 0; a < amounts; a++) {
        expected[a] = share[a] = by[W_EXPECTED_SHARE] * pow(by[W_RARER], (double)a);
        all += share[a];
    }
    double over = by[W_OVERCLAIM] * 0.5 * (evidence * evidence - evidence);
    for (int k = threadIdx.x; k < number; k += blockDim.x) {
        double sure = max(error[k], 1e-12);
        for (int a = 0; a < amounts; a++) {
            int place = amounts * k + a;
            double amount = host * by[W_LACKING + a];
            double claim = ratio[place] - over * (amount * amount) / (sure * sure) + logit[k];
            odds[place] = exp(min(max(claim, -LARGEST), LARGEST));
        }
    }
    __syncthreads();
    for (int step = 0; step < steps; step++) {
        double mass[AMOUNTS], part[AMOUNTS] = {0.0, 0.0, 0.0, 0.0};
        for (int k = threadIdx.x; k < number; k += blockDim.x) {
            double weight = 0.0;
            for (int a = 0; a < amounts; a++)
                weight += share[a] * odds[amounts * k + a];
            for (int a = 0; a < amounts; a++)
                part[a] += share[a] * odds[amounts * k + a] / (1.0 - all + weight);
        }
        all = 0.0;
        for (int a = 0; a < amounts; a++) {
            mass[a] = summed(part[a]) + by[W_EXPECTED_SITES] * expected[a];
            share[a] = mass[a] / (number + by[W_EXPECTED_SITES]);
            all += share[a];
        }
    }
    for (int k = threadIdx.x; k < number; k += blockDim.x) {
        double weight = 0.0;
        for (int a = 0; a < amounts; a++)
            weight += share[a] * odds[amounts * k + a];
        probability[k] = weight / (1.0 - all + weight);
    }
    __syncthreads();
    double threshold = by[W_VACANCY_THRESHOLD];
    if (!(threshold >= 0.0))
        threshold = best_threshold(by, probability, number);
    if (threadIdx.x == 0) {
        facts[FACT_THRESHOLD] = threshold;
        for (int a = 0; a < AMOUNTS; a++)
            facts[FACT_SHARES + a] = a < amounts ? share[a] : 0.0;
    }
}

/* Whether columns of the judged sublattice can be told at all. */
__device__ static inline bool heard(const double *facts, const double *by)
{
    return facts[FACT_HOST + LOCAL] > by[W_LEAST_HOST];
}

/* Site of each of the network's detections, and whether it is reported; a thread to a detection.
 *
 * One on a judged column that is not bright gives way to the column.
 */
extern "C" __global__ void detections_placed(
    const double *facts, const double *by, const double *points, const double *probability, int found,
    const float *displacement, int high, int wide, int stride,
    int sites, const int *cells, const char *bright, int room, /* (room), of judged sites */
    int *marked, char *reported) /* (found, 3): cell and sublattice, (found) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x, begin, site, cell[2];
    if (index >= found)
        return;
    reported[index] = 0;
    marked[3 * index] = marked[3 * index + 1] = 0;
    marked[3 * index + 2] = -1;
    bool sure = probability[index] >= by[W_THRESHOLD];
    if (index >= counted(facts, FACT_FOUND, found) || !sure)
        return;
    double x = points[2 * index], y = points[2 * index + 1], moved[2];
    displaced(displacement, high, wide, stride, x, y, moved);
    nearest_site(facts, x - moved[0], y - moved[1], cell, &site);
    marked[3 * index] = cell[0];
    marked[3 * index + 1] = cell[1];
    marked[3 * index + 2] = site;
    reported[index] = 1;
    if (site != LOCAL || !heard(facts, by))
        return;
    int number = judged_sites(facts, sites, room, &begin);
    for (int k = 0; k < number; k++)
        if (cells[2 * k] == cell[0] && cells[2 * k + 1] == cell[1])
            reported[index] = bright[k];
}

/* Probability that a column is a defect which stands out beyond doubt, or -1; a thread to a site. */
extern "C" __global__ void columns_outstanding(
    const double *facts, const double *by, const int *cells, const char *sublattice,
    const double *deviation, const double *error, const double *level, int sites,
    const int *marked, int found, double *outstanding) /* (found, 3), (sites) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= sites)
        return;
    outstanding[index] = -1.0;
    if (index >= counted(facts, FACT_SITES, sites) || !heard(facts, by))
        return;
    double z = deviation[index] / max(error[index], 1e-12);
    bool chosen = fabs(z) > by[W_OUTSTANDING_SIGMAS] && (sublattice[index] != LOCAL || z > 0.0);
    chosen = chosen && (z < 0.0 || deviation[index] > by[W_LEAST_ADATOM]);
    if (!(chosen && level[index] < by[W_COVERED_LEVEL]))
        return;
    for (int k = 0; k < counted(facts, FACT_FOUND, found); k++) {
        const int *mark = marked + 3 * k;
        if (mark[2] == sublattice[index] && mark[0] == cells[2 * index] &&
            mark[1] == cells[2 * index + 1])
            return;
    }
    double host = exp(-0.5 * (z * z)) / (error[index] * sqrt(6.283185307179586));
    double defect = by[W_EXPECTED_SHARE] / by[W_OUTSTANDING_RANGE];
    outstanding[index] = defect / (defect + (1.0 - by[W_EXPECTED_SHARE]) * host);
}

/* All points that are reported, surest first, the rest zeros; one block.
 *
 * Candidates are the network's detections, then the judged columns, then those that stand out; of
 * equals the first goes first.
 */
extern "C" __global__ void __launch_bounds__(TOGETHER) points_reported(
    double *facts, const double *by, const double *found_points, const double *found_probability,
    const char *reported, int found, const double *judged_points, const double *judged, int room,
    const double *site_points, const double *outstanding, int sites,
    int *listed,                         /* (found), scratch */
    double *points, double *probability) /* (found, 2), (found) */
{
    __shared__ int counts[TOGETHER];
    int begin, thread = threadIdx.x, candidates = found + room + sites;
    int number = judged_sites(facts, sites, room, &begin);
    double threshold = facts[FACT_THRESHOLD];
    bool asked = heard(facts, by);
    auto likely = [=](int k) {
        if (k < found)
            return reported[k] ? found_probability[k] : -1.0;
        if (k < found + room) {
            int site = k - found;
            return asked && site < number && judged[site] >= threshold ? judged[site] : -1.0;
        }
        return outstanding[k - found - room];
    };
    int each = (candidates + blockDim.x - 1) / blockDim.x, own = 0;
    int from = min(thread * each, candidates), to = min(from + each, candidates);
    for (int k = from; k < to; k++)
        own += likely(k) >= 0.0;
    counts[thread] = own;
    __syncthreads();
    for (int width = 1; width < blockDim.x; width *= 2) {
        int before = thread >= width ? counts[thread - width] : 0;
        __syncthreads();
        counts[thread] += before;
        __syncthreads();
    }
    int place = counts[thread] - own, total = counts[blockDim.x - 1];
    for (int k = from; k < to; k++)
        if (likely(k) >= 0.0 && place < found)
            listed[place++] = k;
    __syncthreads();
    int kept = min(total, found);
    for (int k = thread; k < kept; k += blockDim.x) {
        double sure = likely(listed[k]);
        int before = 0, candidate = listed[k];
        for (int j = 0; j < kept; j++) {
            double other = likely(listed[j]);
            before += other > sure || (other == sure && j < k);
        }
        const double *point = candidate < found ? found_points + 2 * candidate
            : candidate < found + room ? judged_points + 2 * (candidate - found)
            : site_points + 2 * (candidate - found - room);
        points[2 * before] = point[0];
        points[2 * before + 1] = point[1];
        probability[before] = sure;
    }
    for (int k = kept + thread; k < found; k += blockDim.x)
        points[2 * k] = points[2 * k + 1] = probability[k] = 0.0;
    if (thread == 0) {
        facts[FACT_REPORTED] = kept;
        if (total > found)
            refuse(facts, REFUSAL_NO_ROOM);
    }
}
