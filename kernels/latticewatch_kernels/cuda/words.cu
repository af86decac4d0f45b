/* Memory that is cleared, and copied, some words to a thread. */

#include "neighbours.cuh"

extern "C" __global__ void cleared(int words, int *at)
{
    long long first = first_neighbour();
    int here = neighbours_here(first, words);
    if (here > 0)
        put(at + first, here, Neighbours<int>{{0, 0, 0, 0}});
}

extern "C" __global__ void copied(const int *from, int words, int *to)
{
    long long first = first_neighbour();
    int here = neighbours_here(first, words);
    if (here > 0)
        put(to + first, here, neighbours(from + first, here));
}
