/* Columns that stand out among those of their sublattice, and the logarithm of the odds of a heat map.
 *
 * Twins: deviations.site_deviations and segmentation.Segmentation.logit_at.
 */

#include "selection.cuh"

#define NORMAL_SIGMAS 1.4826

/* Height of each column less its sublattice's median where it stands out, else 0; a block to each. */
extern "C" __global__ void __launch_bounds__(TOGETHER) strong_columns(
    const float *squares, const float *responses, /* (end): one sublattice after the other */
    int second, int third, int end, double sigmas,
    double *heights) /* (end) */
{
    int starts[4] = {0, second, third, end};
    int begin = starts[blockIdx.x], number = starts[blockIdx.x + 1] - begin;
    if (number == 0)
        return;
    auto energy = [=](int k) { return max((double)squares[begin + k], 1e-12); };
    auto plain = [=](int k) { return responses[begin + k] / energy(k); };
    double middle = median(plain, number, 0);
    auto deviation = [=](int k) { return fabs(plain(k) - middle) * sqrt(energy(k)); };
    double sigma = NORMAL_SIGMAS * median(deviation, number, 0);
    for (int k = threadIdx.x; k < number; k += blockDim.x)
        heights[begin + k] = deviation(k) > sigmas * sigma ? plain(k) - middle : 0.0;
}
