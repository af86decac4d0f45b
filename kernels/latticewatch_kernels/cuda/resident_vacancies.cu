/* Vacancies told by what their columns lack, and the points that a frame reports.
 *
 * Twins in latticewatch.vacancies: network_evidence, judge_vacancies, best_threshold,
 * outstanding_columns and combine. All in double precision, sums in a fixed order.
 */

#include "lists.cuh"
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

/* Sums of two parts, by the barriers of one; all threads of a block.
 *
 * No template: each of its instances would have shared memory of its own.
 */
__device__ static void both_summed(double *parts)
{
    __shared__ double sums[2][TOGETHER];
    int thread = threadIdx.x;
    __syncthreads(); /* until the last sums were read */
    sums[0][thread] = parts[0];
    sums[1][thread] = parts[1];
    __syncthreads();
    for (int width = blockDim.x / 2; width > 0; width /= 2) {
        if (thread < width) {
            sums[0][thread] += sums[0][thread + width];
            sums[1][thread] += sums[1][thread + width];
        }
        __syncthreads();
    }
    parts[0] = sums[0][0];
    parts[1] = sums[1][0];
}

/* Two sums over the numbers from 0 on, of what `add` adds to both for each. */
template <class Add> __device__ static void sums_over(Add add, int number, double *sums)
{
    sums[0] = sums[1] = 0.0;
    for (int k = threadIdx.x; k < number; k += blockDim.x)
        add(k, sums);
    both_summed(sums);
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
    auto usual = [=](int k) { return fabs(z(k)) < sigmas; };
    double usuals[2], moments[2];
    sums_over(
        [=](int k, double *sums) {
            sums[0] += usual(k) ? 1.0 : 0.0;
            sums[1] += usual(k) ? z(k) : 0.0;
        },
        number, usuals);
    double known = usuals[0], centre = usuals[1] / known;
    if (weight == 0.0 || known < 3.0) {
        for (int k = threadIdx.x; k < number; k += blockDim.x)
            logit[k] = 0.0;
        __syncthreads();
        return;
    }
    double level = sum_over([=](int k) { return usual(k) ? logit[k] : 0.0; }, number) / known;
    sums_over(
        [=](int k, double *sums) {
            double off = usual(k) ? z(k) - centre : 0.0;
            sums[0] += off * off;
            sums[1] += off * (logit[k] - level);
        },
        number, moments);
    double spread = moments[0], both = moments[1];
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

/* Threshold that makes the expected F1 greatest; all threads of a block.
 *
 * Only columns that are likely enough to be reported with any threshold are compared with one another.
 * Of equals all count: along them the F1 rises or falls throughout, and along the likeliest it rises.
 */
__device__ static double best_threshold(
    const double *by, const double *probability, int number, int *likely) /* (number) twice */
{
    double least = by[W_LEAST_THRESHOLD];
    double total = sum_over([=](int k) { return probability[k]; }, number);
    int most = listed_where([=](int k) { return probability[k] >= least; }, number, number, likely);
    __syncthreads();
    double best = greatest_over(
        [=](int k) {
            double own = probability[likely[k]], sum = 0.0;
            int counts = 0;
            for (int j = 0; j < most; j++) {
                double other = probability[likely[j]];
                sum += other >= own ? other : 0.0;
                counts += other >= own;
            }
            return 2.0 * sum / (counts + total);
        },
        most);
    return max(0.5 * best, least);
}

/* Probability that each judged column lacks something, by expectation and maximisation; one block. */
extern "C" __global__ void __launch_bounds__(TOGETHER) columns_weighed(
    double *facts, const double *by, const double *deviation, const double *error, int sites,
    int room, double *logit, const double *ratio, double *odds, /* (room), (room, k), scratch of its size */
    int *likely, double *probability)                           /* (room), scratch, and (room) */
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
        double mass[AMOUNTS + 1]; /* sums come in pairs */
        for (int first = 0; first < amounts; first += 2)
            sums_over(
                [=](int k, double *sums) {
                    double weight = 0.0;
                    for (int a = 0; a < amounts; a++)
                        weight += share[a] * odds[amounts * k + a];
                    double every = 1.0 - all + weight;
                    for (int a = first; a < min(first + 2, amounts); a++)
                        sums[a - first] += share[a] * odds[amounts * k + a] / every;
                },
                number, mass + first);
        all = 0.0;
        for (int a = 0; a < amounts; a++) {
            share[a] = mass[a] + by[W_EXPECTED_SITES] * expected[a];
            share[a] /= number + by[W_EXPECTED_SITES];
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
        threshold = best_threshold(by, probability, number, likely);
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

/* Site of each of the network's detections; a thread to a detection. */
extern "C" __global__ void detections_placed(
    const double *facts, const double *by, const double *points, const double *probability, int found,
    const float *displacement, int high, int wide, int stride,
    int *marked, char *reported) /* (found, 3): cell and sublattice, -1 of those not sure; (found) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x, site = -1, cell[2] = {0, 0};
    if (index >= found)
        return;
    bool sure = probability[index] >= by[W_THRESHOLD] && index < counted(facts, FACT_FOUND, found);
    if (sure) {
        double x = points[2 * index], y = points[2 * index + 1], moved[2];
        displaced(displacement, high, wide, stride, x, y, moved);
        nearest_site(facts, x - moved[0], y - moved[1], cell, &site);
    }
    marked[3 * index] = cell[0];
    marked[3 * index + 1] = cell[1];
    marked[3 * index + 2] = site;
    reported[index] = sure;
}

/* Probability that a column is a defect which stands out beyond doubt and that nobody marked, or -1; a
 * thread to a site.
 *
 * Detections on a judged column that is not bright give way to the column.
 */
extern "C" __global__ void columns_outstanding(
    const double *facts, const double *by, const int *cells, const char *sublattice,
    const double *deviation, const double *error, const double *level, int sites,
    const char *bright, int room, /* (room), of judged sites */
    const int *marked, int found, char *reported, double *outstanding) /* (found, 3), (found), (sites) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x, begin;
    if (index >= sites)
        return;
    outstanding[index] = -1.0;
    if (index >= counted(facts, FACT_SITES, sites) || !heard(facts, by))
        return;
    int number = judged_sites(facts, sites, room, &begin), own = index - begin;
    bool gives_way = own >= 0 && own < number && !bright[own];
    double z = deviation[index] / max(error[index], 1e-12);
    bool chosen = fabs(z) > by[W_OUTSTANDING_SIGMAS] && (sublattice[index] != LOCAL || z > 0.0);
    chosen = chosen && (z < 0.0 || deviation[index] > by[W_LEAST_ADATOM]);
    chosen = chosen && level[index] < by[W_COVERED_LEVEL];
    if (!chosen && !gives_way)
        return;
    for (int k = 0; k < counted(facts, FACT_FOUND, found); k++) {
        const int *mark = marked + 3 * k;
        if (mark[2] != sublattice[index] || mark[0] != cells[2 * index] ||
            mark[1] != cells[2 * index + 1])
            continue;
        chosen = false;
        if (gives_way)
            reported[k] = 0;
    }
    if (!chosen)
        return;
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
    int total = listed_where([=](int k) { return likely(k) >= 0.0; }, candidates, found, listed);
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
