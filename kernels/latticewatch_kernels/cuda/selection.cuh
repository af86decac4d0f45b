/* What the threads of one block find out together: sums, and values of a given rank.
 *
 * Loops run over `for (k = threadIdx.x; k < number; k += blockDim.x)`, so that any number of threads
 * that is a power of two does, one among them. All threads of the block must call these.
 */

#define TOGETHER 1024

/* What NVRTC has no macro for. */
#define BEYOND __longlong_as_double(0x7ff0000000000000ll)

/* What all threads have, joined two by two in an order that hangs on their number alone. */
template <class T, class Join> __device__ static T joined(T part, Join join)
{
    __shared__ T parts[TOGETHER];
    int thread = threadIdx.x;
    __syncthreads(); /* until the last result was read */
    parts[thread] = part;
    __syncthreads();
    for (int width = blockDim.x / 2; width > 0; width /= 2) {
        if (thread < width)
            parts[thread] = join(parts[thread], parts[thread + width]);
        __syncthreads();
    }
    return parts[0];
}

template <class T> __device__ static T summed(T part)
{
    return joined(part, [](T first, T second) { return first + second; });
}

__device__ static inline unsigned long long least(unsigned long long part)
{
    typedef unsigned long long Bits;
    return joined(part, [](Bits first, Bits second) { return min(first, second); });
}

/* Bits of a number that rise as it does. */
__device__ static inline unsigned long long rising(double value)
{
    unsigned long long bits = (unsigned long long)__double_as_longlong(value);
    return bits >> 63 ? ~bits : bits | 1ull << 63;
}

__device__ static inline double from_rising(unsigned long long bits)
{
    return __longlong_as_double((long long)(bits >> 63 ? bits & ~(1ull << 63) : ~bits));
}

/* Values that a search is down to: those whose `known` bits are `found`. */
struct Narrowed {
    unsigned long long found, known; /* as `rising` has them */
    int rank, count;                 /* of the one that is looked for among them, and of them all */
};

/* Narrow values down to one, or to equal ones: eight bits at a time, from the top.
 *
 * Two sets of bins take turns, so that the next is emptied while the last is read, and a thread hands
 * over equal digits in one go: the first bits of an image's values are mostly the same, and threads
 * that add to one bin wait for each other. A barrier has to follow before bins are narrowed again.
 */
template <class At> __device__ static Narrowed narrowed(At at, int number, int rank, int rest)
{
    __shared__ int bins[2][256], sums[16];
    Narrowed left = {0, 0, rank, number};
    for (int k = threadIdx.x; k < 256; k += blockDim.x)
        bins[0][k] = 0;
    __syncthreads();
    for (int low = 56, turn = 0; low + 8 > rest && left.count > 1; low -= 8, turn ^= 1) {
        int *here = bins[turn], last = 0, run = 0;
        for (int k = threadIdx.x; k < number; k += blockDim.x) {
            unsigned long long bits = rising(at(k));
            if ((bits & left.known) != left.found)
                continue;
            int digit = bits >> low & 255;
            if (digit != last && run > 0) {
                atomicAdd(&here[last], run);
                run = 0;
            }
            last = digit;
            run++;
        }
        if (run > 0)
            atomicAdd(&here[last], run);
        __syncthreads();
        for (int k = threadIdx.x; k < 256; k += blockDim.x)
            bins[turn ^ 1][k] = 0;
        for (int k = threadIdx.x; k < 16; k += blockDim.x) {
            int sum = 0;
            for (int j = 0; j < 16; j++)
                sum += here[16 * k + j];
            sums[k] = sum;
        }
        __syncthreads();
        int digit = 0;
        while (digit < 240 && left.rank >= sums[digit / 16]) {
            left.rank -= sums[digit / 16];
            digit += 16;
        }
        for (int end = digit + 15; digit < end && left.rank >= here[digit]; digit++)
            left.rank -= here[digit];
        left.count = here[digit];
        left.found |= (unsigned long long)digit << low;
        left.known |= 255ull << low;
    }
    return left;
}

struct Two {
    double first, second;
};

/* Value of a rank, 0 the least, among at(0) to at(number - 1), and that of a rank `further` on: 0 or
 * 1. `rest` is the number of bits that are 0 in every value: 29 where they come from single precision.
 */
template <class At>
__device__ static Two two_ranked(At at, int number, int rank, int further, int rest)
{
    __shared__ unsigned long long only;
    Narrowed left = narrowed(at, number, rank, rest);
    unsigned long long beyond = ~0ull;
    bool equal = left.rank + further < left.count; /* of values that are equal but for their rest */
    for (int k = threadIdx.x; k < number && (left.count == 1 || !equal); k += blockDim.x) {
        unsigned long long bits = rising(at(k));
        if (left.count == 1 && (bits & left.known) == left.found)
            only = bits;
        if ((bits & left.known) > left.found)
            beyond = min(beyond, bits);
    }
    if (equal)
        __syncthreads(); /* the next search may empty the bins, too */
    else
        beyond = least(beyond);
    /* bits that are 0 in a negative value are 1 in its rising form */
    unsigned long long bits = left.found >> 63 ? left.found : left.found | ~left.known;
    Two found = {from_rising(left.count == 1 ? only : bits), 0.0};
    found.second = equal ? found.first : from_rising(beyond);
    return found;
}

template <class At> __device__ static double ranked(At at, int number, int rank, int rest)
{
    return two_ranked(at, number, rank, 0, rest).first;
}

/* Median of the `known` least of them: what is unknown is BEYOND, or greater than all that is not. */
template <class At> __device__ static double median_of(At at, int number, int known, int rest)
{
    Two middle = two_ranked(at, number, (known - 1) / 2, 1 - known % 2, rest);
    return known % 2 ? middle.first : 0.5 * (middle.first + middle.second);
}

template <class At> __device__ static double median(At at, int number, int rest)
{
    return median_of(at, number, number, rest);
}
