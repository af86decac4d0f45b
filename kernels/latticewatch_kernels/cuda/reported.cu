/* The points that a frame reports: the network's detections, judged columns, those that stand out.
 *
 * Twins in latticewatch.vacancies: outstanding_columns and combine. In double precision.
 */

#include "lists.cuh"
#include "displaced.cuh"
#include "sites.cuh"
#include "weights.cuh"

/* Whether columns of the judged sublattice can be told at all. */
__device__ static inline bool heard(const double *facts, const double *by)
{
    return facts[FACT_HOST + LOCAL] > by[W_LEAST_HOST];
}

/* Number of the site of a cell among those of a sublattice, which rise by their cells; -1 without. */
__device__ static inline int site_of(
    const double *facts, const int *cells, int sites, const int *cell, int sublattice)
{
    int begin, number;
    sites_of(facts, sublattice, sites, &begin, &number);
    int low = begin, high = begin + number;
    while (low < high) {
        int middle = (low + high) / 2;
        const int *here = cells + 2 * middle;
        if (here[0] < cell[0] || (here[0] == cell[0] && here[1] < cell[1]))
            low = middle + 1;
        else
            high = middle;
    }
    bool there = low < begin + number && cells[2 * low] == cell[0] && cells[2 * low + 1] == cell[1];
    return there ? low : -1;
}

/* Probability that a column is a defect which stands out beyond doubt, or -1; a thread to a site. */
extern "C" __global__ void columns_outstanding(
    const double *facts, const double *by, const char *sublattice,
    const double *deviation, const double *error, const double *level, int sites,
    double *outstanding) /* (sites) */
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
    if (!chosen || !(level[index] < by[W_COVERED_LEVEL]))
        return;
    double host = exp(-0.5 * (z * z)) / (error[index] * sqrt(6.283185307179586));
    double defect = by[W_EXPECTED_SHARE] / by[W_OUTSTANDING_RANGE];
    outstanding[index] = defect / (defect + (1.0 - by[W_EXPECTED_SHARE]) * host);
}

/* Which of the network's detections are reported; a thread to a detection.
 *
 * Those on a judged column that is not bright give way to the column. A column on which there is one
 * does not stand out by itself: its probability ends below 0.
 */
extern "C" __global__ void detections_placed(
    const double *facts, const double *by, const double *points, const double *probability, int found,
    const float *displacement, int high, int wide, int stride,
    const int *cells, int sites, const char *bright, int room, /* (room), of judged sites */
    char *reported, double *outstanding)                       /* (found), (sites) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= found)
        return;
    bool sure = probability[index] >= by[W_THRESHOLD] && index < counted(facts, FACT_FOUND, found);
    reported[index] = sure;
    if (!sure || !heard(facts, by))
        return;
    double x = points[2 * index], y = points[2 * index + 1], moved[2];
    int sublattice, cell[2], begin, number = judged_sites(facts, sites, room, &begin);
    displaced(displacement, high, wide, stride, x, y, moved);
    nearest_site(facts, x - moved[0], y - moved[1], cell, &sublattice);
    int site = site_of(facts, cells, sites, cell, sublattice), own = site - begin;
    if (site < 0)
        return;
    atomicAdd(&outstanding[site], -2.0);
    if (own >= 0 && own < number && !bright[own])
        reported[index] = 0;
}

/* Probability of each candidate, below 0 of those that are not reported, and how many of the block's
 * are before each; a block to TOGETHER candidates.
 *
 * They are the network's detections, then the judged columns, then those that stand out.
 */
extern "C" __global__ void __launch_bounds__(TOGETHER) points_told(
    const double *facts, const double *by, const double *found_probability,
    const char *reported, int found, const double *judged, int room,
    const double *outstanding, int sites,
    double *told, char *kept, int *before, int *counts) /* (found + room + sites) each, (parts) */
{
    int begin, number = judged_sites(facts, sites, room, &begin);
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
    auto holds = [=](int k) {
        told[k] = likely(k);
        return told[k] >= 0.0;
    };
    int total = kept_of_block(holds, found + room + sites, kept, before);
    if (threadIdx.x == 0)
        counts[blockIdx.x] = total;
}

/* The candidates that are reported, as far as there is room; a block to TOGETHER of all. */
extern "C" __global__ void __launch_bounds__(TOGETHER) points_listed(
    double *facts, const double *told, const char *kept, const int *before, const int *counts,
    int parts, int candidates, int found, int *listed, double *likely) /* (found), (found) */
{
    int total, earlier = kept_before(counts, parts, &total);
    int begin = blockIdx.x * TOGETHER, end = min(begin + TOGETHER, candidates);
    for (int k = begin + threadIdx.x; k < end; k += blockDim.x) {
        int place = earlier + before[k];
        if (!kept[k] || place >= found)
            continue;
        listed[place] = k;
        likely[place] = told[k];
    }
    if (blockIdx.x + threadIdx.x == 0) {
        facts[FACT_REPORTED] = min(total, found);
        if (total > found)
            refuse(facts, REFUSAL_NO_ROOM);
    }
}

/* These points, surest first, of equals the first first, the rest zeros; a block to ORDERED. */
extern "C" __global__ void __launch_bounds__(TOGETHER) points_ordered(
    const double *facts, const int *listed, const double *likely, int found, /* (found) */
    const double *found_points, const double *judged_points, int room, const double *site_points,
    double *points, double *probability) /* (found, 2), (found) */
{
    int kept = counted(facts, FACT_REPORTED, found);
    auto before = [=](int other, int k) {
        return likely[other] > likely[k] || (likely[other] == likely[k] && other < k);
    };
    ordered(before, kept, [=](int k, int rank) {
        int candidate = listed[k];
        const double *point = candidate < found ? found_points + 2 * candidate
            : candidate < found + room ? judged_points + 2 * (candidate - found)
            : site_points + 2 * (candidate - found - room);
        points[2 * rank] = point[0];
        points[2 * rank + 1] = point[1];
        probability[rank] = likely[k];
    });
    for (int own = threadIdx.x; own < ORDERED; own += blockDim.x) {
        int k = blockIdx.x * ORDERED + own;
        if (k >= kept && k < found)
            points[2 * k] = points[2 * k + 1] = probability[k] = 0.0;
    }
}
