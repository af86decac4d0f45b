/* Arrays of any size laid out in one, one behind the other, so that they come down by one copy. */

#include "neighbours.cuh"

typedef unsigned long long address;

#define WORD 4 /* bytes */

enum Part { P_PLACE, P_BEGIN, P_BYTES, P_NUMBERS };

/* A thread to neighbouring words of the result, which are of one part, for parts begin at such; what lies
 * between two is left as it was. */
extern "C" __global__ void packed(
    const address *parts, int number, int words, /* (number, P_NUMBERS), parts in rising order */
    int *result)                                 /* (words) */
{
    long long first = first_neighbour();
    int here = neighbours_here(first, words), low = 0, high = number;
    if (here <= 0)
        return;
    address at = (address)(WORD * first);
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (parts[P_NUMBERS * middle + P_BEGIN] <= at)
            low = middle;
        else
            high = middle;
    }
    const address *part = parts + P_NUMBERS * low;
    address from = part[P_PLACE] + (at - part[P_BEGIN]), end = part[P_PLACE] + part[P_BYTES];
    if (from % WORD == 0 && from + WORD * here <= end) {
        put(result + first, here, neighbours((const int *)from, here));
        return;
    }
    for (int k = 0; k < WORD * here && from + k < end; k++)
        ((char *)(result + first))[k] = *(const char *)(from + k);
}
