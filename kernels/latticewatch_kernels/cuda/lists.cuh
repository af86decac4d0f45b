/* Lists that the threads of one block write together, in a fixed order. */

#include "selection.cuh"

/* How many things the threads before this one have found, and all threads together; all threads of
 * the block must call it. */
__device__ static inline int found_before(int own, int *total)
{
    __shared__ int counts[TOGETHER];
    int thread = threadIdx.x;
    __syncthreads(); /* until the last counts were read */
    counts[thread] = own;
    __syncthreads();
    for (int width = 1; width < blockDim.x; width *= 2) {
        int before = thread >= width ? counts[thread - width] : 0;
        __syncthreads();
        counts[thread] += before;
        __syncthreads();
    }
    *total = counts[blockDim.x - 1];
    return counts[thread] - own;
}

/* Numbers from 0 to number - 1 for which `holds`, in rising order, as many as there is room for; gives
 * how many there are. All threads of the block must call it, and wait before they read the list. */
template <class Holds>
__device__ static int listed_where(Holds holds, int number, int room, int *list)
{
    int each = (number + blockDim.x - 1) / blockDim.x, own = 0, total;
    int begin = min((int)threadIdx.x * each, number), end = min(begin + each, number);
    for (int k = begin; k < end; k++)
        own += holds(k);
    int place = found_before(own, &total);
    for (int k = begin; k < end && place < room; k++)
        if (holds(k))
            list[place++] = k;
    return total;
}
