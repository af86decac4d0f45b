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
__device__ static unsigned long long rising(double value)
{
    unsigned long long bits = (unsigned long long)__double_as_longlong(value);
    return bits >> 63 ? ~bits : bits | 1ull << 63;
}

/* Sum over the threads of numbers from 0 to most: a barrier for each of their bits. */
__device__ static int counted(int part, int most)
{
    int total = 0;
    for (int bit = 0; most >> bit; bit++)
        total += __syncthreads_count(part >> bit & 1) << bit;
    return total;
}

/* Value of a rank, 0 the least, among at(0) to at(number - 1): bisection over its bits.
 *
 * `rest` is the number of bits that are 0 in every value: 29 where they come from single precision.
 */
template <class At>
__device__ static double ranked(At at, int number, int rank, int rest)
{
    int each = (number + blockDim.x - 1) / blockDim.x;
    unsigned long long found = 0;
    for (int bit = 63; bit >= rest; bit--) {
        unsigned long long trial = found | 1ull << bit;
        int below = 0;
        for (int k = threadIdx.x; k < number; k += blockDim.x)
            below += rising(at(k)) < trial;
        if (counted(below, each) <= rank)
            found = trial;
    }
    if (!(found >> 63))
        found |= (1ull << rest) - 1;
    return __longlong_as_double((long long)(found >> 63 ? found & ~(1ull << 63) : ~found));
}

template <class At> __device__ static double median(At at, int number, int rest)
{
    double lower = ranked(at, number, (number - 1) / 2, rest);
    return number % 2 ? lower : 0.5 * (lower + ranked(at, number, number / 2, rest));
}
