/* Lists that the threads of one block write together, in a fixed order. */

#include "selection.cuh"

/* Which of the block's TOGETHER things, of so many in all, are kept, and how many of the block's come
 * before each; gives how many are. All threads of the block must call it. */
template <class Holds>
__device__ static int kept_of_block(Holds holds, int number, char *kept, int *before)
{
    int each = TOGETHER / blockDim.x, begin = blockIdx.x * TOGETHER + threadIdx.x * each;
    int end = min(begin + each, number), own = 0, total;
    for (int k = begin; k < end; k++) {
        kept[k] = holds(k);
        own += kept[k];
    }
    int place = found_before(own, &total);
    for (int k = begin; k < end; k++) {
        before[k] = place;
        place += kept[k];
    }
    return total;
}

/* How many things all blocks have kept, and those before this one; all threads of the block. */
__device__ static inline int kept_before(const int *counts, int parts, int *total)
{
    int earlier = 0, all = 0;
    for (int part = threadIdx.x; part < parts; part += blockDim.x) {
        all += counts[part];
        earlier += part < blockIdx.x ? counts[part] : 0;
    }
    *total = summed(all);
    return summed(earlier);
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

#define ORDERED 32     /* things to a block that orders them */
#define ORDER_LANES 32 /* threads to a thing */
#define AT_ONCE 4      /* things that a thread reads before it looks at the first */

/* Hand each of the block's things, of so many in all, and how many come before it to `then`. All
 * threads of the block must call it. */
template <class Before, class Then> __device__ static void ordered(Before before, int number, Then then)
{
    __shared__ int counts[ORDER_LANES][ORDERED + 1]; /* a column more keeps threads off each other */
    int begin = blockIdx.x * ORDERED;
    for (int k = threadIdx.x; k < ORDERED * ORDER_LANES; k += blockDim.x) {
        int lane = k % ORDER_LANES, thing = begin + k / ORDER_LANES, count = 0;
        for (int first = lane; first < number && thing < number; first += AT_ONCE * ORDER_LANES)
            for (int j = 0; j < AT_ONCE; j++) {
                int other = first + j * ORDER_LANES;
                count += (other < number) & before(min(other, number - 1), thing);
            }
        counts[lane][k / ORDER_LANES] = count;
    }
    __syncthreads();
    for (int k = threadIdx.x; k < min(ORDERED, number - begin); k += blockDim.x) {
        int count = 0;
        for (int lane = 0; lane < ORDER_LANES; lane++)
            count += counts[lane][k];
        then(begin + k, count);
    }
}
