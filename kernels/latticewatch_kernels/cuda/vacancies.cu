/* Vacancies told by what their columns lack.
 *
 * Twins in latticewatch.vacancies: network_evidence, judge_vacancies and best_threshold. All in double
 * precision, sums in a fixed order.
 */

#include "lists.cuh"
#include "odds.cuh"
#include "weights.cuh"

#define LARGEST 60.0 /* logarithms of odds count no further */

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
 * In place of the logits: logarithms of likelihood ratios, whose mean is 1 as a ratio. A thread reads
 * and writes columns of its own alone.
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
    for (int step = 0; step < steps; step++) {
        double mass[AMOUNTS]; /* an even number, for sums come in pairs */
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
