/* Judged columns that no hole is near. Twin: order.OrderMap.near_hole, and what is taken by it. */

#include "holes.cuh"
#include "selection.cuh"
#include "weights.cuh"

/* Put judged columns that no hole is near behind one another, in the place of all and in their order;
 * one block of threads, which reads as many as it has threads before it writes any of them. */
extern "C" __global__ void __launch_bounds__(TOGETHER) columns_clear(
    double *facts, const double *by, const char *hole, int high, int wide, int stride, int sites,
    int room, int *cells, double *points, double *probability, char *bright, double *intensity,
    double *ratio, double *odd) /* (room), (room, 2) or (room, k) */
{
    int begin, number = judged_sites(facts, sites, room, &begin), amounts = (int)by[W_AMOUNTS];
    bool holes = facts[FACT_HOLES] > 0.0;
    int clear = holes ? 0 : number;
    for (int first = 0; holes && first < number; first += blockDim.x) {
        int k = first + threadIdx.x, cell[2], total;
        double point[2], lacking[AMOUNTS], chance = 0.0, height = 0.0, strange = 0.0;
        char light = 0;
        bool kept = false;
        if (k < number) {
            for (int axis = 0; axis < 2; axis++) {
                cell[axis] = cells[2 * k + axis];
                point[axis] = points[2 * k + axis];
            }
            for (int a = 0; a < amounts; a++)
                lacking[a] = ratio[(long long)amounts * k + a];
            chance = probability[k], height = intensity[k], strange = odd[k], light = bright[k];
            kept = !near_hole(facts, hole, high, wide, stride, point[0], point[1]);
        }
        int place = clear + found_before(kept ? 1 : 0, &total); /* all have read by then */
        if (kept) {
            for (int axis = 0; axis < 2; axis++) {
                cells[2 * place + axis] = cell[axis];
                points[2 * place + axis] = point[axis];
            }
            for (int a = 0; a < amounts; a++)
                ratio[(long long)amounts * place + a] = lacking[a];
            probability[place] = chance, intensity[place] = height, odd[place] = strange;
            bright[place] = light;
        }
        clear += total;
    }
    if (threadIdx.x == 0)
        facts[FACT_CLEAR] = clear;
}
