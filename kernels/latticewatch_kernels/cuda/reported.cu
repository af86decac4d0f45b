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
