/* What the threads of one block find out together: sums, and values of a given rank.
 *
 * Loops run over `for (k = threadIdx.x; k < number; k += blockDim.x)`, so that any number of threads
 * that is a power of two does, one among them. All threads of the block must call these.
 */

#define TOGETHER 1024

/* What NVRTC has no macro for. */
#define BEYOND __longlong_as_double(0x7ff0000000000000ll)

template <class T> __device__ static T summed(T part)
{
    __shared__ T sums[TOGETHER];
    int thread = threadIdx.x;
    __syncthreads(); /* until the last sum was read */
    sums[thread] = part;
    __syncthreads();
    for (int width = blockDim.x / 2; width > 0; width /= 2) {
        if (thread < width)
            sums[thread] += sums[thread + width];
        __syncthreads();
    }
    return sums[0];
}

/* Bits of a number that rise as it does. */
__device__ static inline unsigned long long rising(double value)
{
    unsigned long long bits = (unsigned long long)__double_as_longlong(value);
    return bits >> 63 ? ~bits : bits | 1ull << 63;
}

/* Value of a rank, 0 the least, among at(0) to at(number - 1): eight bits at a time, from the top.
 *
 * `rest` is the number of bits that are 0 in every value: 29 where they come from single precision.
 */
template <class At>
__device__ static double ranked(At at, int number, int rank, int rest)
{
    __shared__ int bins[256], sums[16], chosen[2]; /* the latter: digit, and rank among its values */
    unsigned long long found = 0, known = 0;
    int low = 64;
    while (low > rest) {
        low -= 8;
        for (int k = threadIdx.x; k < 256; k += blockDim.x)
            bins[k] = 0;
        __syncthreads();
        for (int k = threadIdx.x; k < number; k += blockDim.x) {
            unsigned long long bits = rising(at(k));
            if ((bits & known) == found)
                atomicAdd(&bins[bits >> low & 255], 1);
        }
        __syncthreads();
        for (int k = threadIdx.x; k < 16; k += blockDim.x) {
            sums[k] = 0;
            for (int j = 0; j < 16; j++)
                sums[k] += bins[16 * k + j];
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            int below = 0, k = 0;
            while (k < 15 && below + sums[k] <= rank)
                below += sums[k++];
            int digit = 16 * k;
            while (digit < 16 * k + 15 && below + bins[digit] <= rank)
                below += bins[digit++];
            chosen[0] = digit;
            chosen[1] = rank - below;
        }
        __syncthreads();
        found |= (unsigned long long)chosen[0] << low;
        known |= 255ull << low;
        rank = chosen[1];
    }
    /* bits that are 0 in a negative value are 1 in its rising form */
    if (!(found >> 63))
        found |= (1ull << low) - 1;
    return __longlong_as_double((long long)(found >> 63 ? found & ~(1ull << 63) : ~found));
}

template <class At> __device__ static double median(At at, int number, int rest)
{
    double lower = ranked(at, number, (number - 1) / 2, rest);
    return number % 2 ? lower : 0.5 * (lower + ranked(at, number, number / 2, rest));
}
