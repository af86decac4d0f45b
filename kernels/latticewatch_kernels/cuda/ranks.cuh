/* The value after one whose rank is known, which takes one look where `ranked` takes five or eight. */

#include "selection.cuh"

/* Value of rank `rank + 1` among at(0) to at(number - 1), where `value` is that of `rank`; itself
 * where there is none after it. All threads of the block must call this.
 */
template <class At> __device__ static double next_ranked(At at, int number, int rank, double value)
{
    __shared__ unsigned long long least[TOGETHER];
    unsigned long long here = rising(value), next = ~0ull;
    int thread = threadIdx.x, reached = 0;
    for (int k = thread; k < number; k += blockDim.x) {
        unsigned long long bits = rising(at(k));
        if (bits <= here)
            reached++;
        else
            next = min(next, bits);
    }
    reached = summed(reached); /* its barriers also keep the last call's least apart from this one's */
    least[thread] = next;
    __syncthreads();
    for (int width = blockDim.x / 2; width > 0; width /= 2) {
        if (thread < width)
            least[thread] = min(least[thread], least[thread + width]);
        __syncthreads();
    }
    next = least[0];
    if (reached > rank + 1 || reached >= number)
        return value;
    return __longlong_as_double((long long)(next >> 63 ? next & ~(1ull << 63) : ~next));
}
