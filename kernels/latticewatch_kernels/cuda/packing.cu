/* Arrays of any size laid out in one, one behind the other, so that they come down by one copy. */

typedef unsigned long long address;

#define WORD 4 /* bytes */

enum Part { P_PLACE, P_BEGIN, P_BYTES, P_NUMBERS };

/* A thread to a word of the result; what lies between two parts is left as it was. */
extern "C" __global__ void packed(
    const address *parts, int number, int words, /* (number, P_NUMBERS), parts in rising order */
    int *result)                                 /* (words) */
{
    int word = blockIdx.x * blockDim.x + threadIdx.x, low = 0, high = number;
    if (word >= words)
        return;
    address at = (address)WORD * word;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (parts[P_NUMBERS * middle + P_BEGIN] <= at)
            low = middle;
        else
            high = middle;
    }
    const address *part = parts + P_NUMBERS * low;
    address from = part[P_PLACE] + (at - part[P_BEGIN]), end = part[P_PLACE] + part[P_BYTES];
    if (from % WORD == 0 && from + WORD <= end) {
        result[word] = *(const int *)from;
        return;
    }
    for (int k = 0; k < WORD && from + k < end; k++)
        ((char *)(result + word))[k] = *(const char *)(from + k);
}
