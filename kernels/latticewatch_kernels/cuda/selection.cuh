/* What the threads of one block find out together: sums, and values of a given rank.
 *
 * Loops run over `for (k = threadIdx.x; k < number; k += blockDim.x)`, so that any number of threads
 * that is a power of two does, one among them. All threads of the block must call these.
 */

#define TOGETHER 1024

/* Threads that hand each other numbers without a barrier; no more warps than these to a block. The
 * tests' stand-ins have warps of their own. */
#ifndef WARP
#define WARP 32
#endif
#define ALL_LANES 0xffffffffu

/* What NVRTC has no macro for. */
#define BEYOND __longlong_as_double(0x7ff0000000000000ll)

typedef unsigned long long Bits;

template <class T> __device__ static inline T of_lane(T own, int other)
{
    return __shfl_xor_sync(ALL_LANES, own, other);
}

/* What all threads have, joined two by two in an order that hangs on their number alone: within warps,
 * and then what these have by every warp, which spares a barrier. Two that join give the same either
 * way round. */
template <class T, class Join> __device__ static T joined(T part, Join join)
{
    __shared__ T parts[WARP];
    int lane = threadIdx.x % WARP, warps = blockDim.x / WARP;
    for (int other = WARP / 2; other > 0; other /= 2)
        part = join(part, of_lane(part, other));
    __syncthreads(); /* until the last result was read */
    if (lane == 0)
        parts[threadIdx.x / WARP] = part;
    __syncthreads();
    part = parts[lane % warps];
    for (int other = WARP / 2; other > 0; other /= 2)
        if (other < warps)
            part = join(part, of_lane(part, other));
    return part;
}

template <class T> __device__ static T summed(T part)
{
    return joined(part, [](T first, T second) { return first + second; });
}

template <class T> __device__ static T greatest(T part)
{
    return joined(part, [](T first, T second) { return max(first, second); });
}

/* How many things the threads before this one have found, and all threads together. */
__device__ static inline int found_before(int own, int *total)
{
    __shared__ int counts[WARP];
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    int within = own;
    for (int step = 1; step < WARP; step *= 2) {
        int before = __shfl_up_sync(ALL_LANES, within, step);
        within += lane >= step ? before : 0;
    }
    __syncthreads(); /* until the last counts were read */
    if (lane == WARP - 1)
        counts[warp] = within;
    __syncthreads();
    int up_to = lane < warps ? counts[lane] : 0;
    for (int step = 1; step < WARP; step *= 2) {
        int before = __shfl_up_sync(ALL_LANES, up_to, step);
        up_to += lane >= step ? before : 0;
    }
    *total = __shfl_sync(ALL_LANES, up_to, WARP - 1);
    int earlier = __shfl_sync(ALL_LANES, up_to, max(warp - 1, 0));
    return (warp > 0 ? earlier : 0) + within - own;
}

/* Bits of a number that rise as it does. */
__device__ static inline Bits rising(double value)
{
    Bits bits = (Bits)__double_as_longlong(value);
    return bits >> 63 ? ~bits : bits | 1ull << 63;
}

__device__ static inline unsigned rising(float value)
{
    unsigned bits = __float_as_uint(value);
    return bits >> 31 ? ~bits : bits | 1u << 31;
}

__device__ static inline double from_rising(Bits bits)
{
    return __longlong_as_double((long long)(bits >> 63 ? bits & ~(1ull << 63) : ~bits));
}

__device__ static inline float from_rising(unsigned bits)
{
    return __uint_as_float(bits >> 31 ? bits & ~(1u << 31) : ~bits);
}

#define IN_HAND 32 /* bytes of values that a thread reads at once, the first of which it keeps */
/* Parts that values are told apart by in one go, one to a thread mostly, and values that are ranked by
 * comparing each with all. Of 20,000 pixels some 200 have the key of a median: once does. */
#define KEYS 1024
#define FEW 256

/* Values of a thread, in single or double precision as `at` gives them: what single precision holds is
 * told apart several times faster by it. They are read in groups, so that a thread waits once for
 * several. Those behind the last are BEYOND, as whatever is not known: it comes after all else and
 * never counts. */
template <class At> struct Values {
    typedef decltype((*(At *)0)(0)) Number;
    typedef decltype(rising(Number())) Key;
    enum { TAKEN = IN_HAND / sizeof(Number) };
    At at;
    int number;
    Number first[TAKEN];

    __device__ Values(At at, int number) : at(at), number(number) { read(threadIdx.x, first); }

    __device__ void read(int begin, Number *values) const
    {
        for (int j = 0; j < TAKEN; j++) {
            int k = begin + j * (int)blockDim.x;
            values[j] = k < number ? at(k) : (Number)BEYOND;
        }
    }

    template <class Then> __device__ void each(Then then) const
    {
        for (int j = 0; j < TAKEN; j++)
            then(first[j]);
        for (int k = threadIdx.x + TAKEN * blockDim.x; k < number; k += TAKEN * blockDim.x) {
            Number values[TAKEN];
            read(k, values);
            for (int j = 0; j < TAKEN; j++)
                then(values[j]);
        }
    }
};

template <class At> using NumberOf = typename Values<At>::Number;
template <class At> using KeyOf = typename Values<At>::Key;

/* Values that a search is down to lie from `low` to `high`, as `rising` has them. They are told apart
 * by their place between the two, as numbers at first, which parts what is spread evenly, and then by
 * their bits, which comes to an end whatever they are. */
template <class Number> struct Narrowed {
    typedef decltype(rising(Number())) Key;
    Key low, high;
    Number from, scale; /* as numbers; 0 by their bits */
    int shift, rank;    /* of the one that is looked for among them */

    __device__ void set(Key least, Key most, bool as_numbers)
    {
        low = least;
        high = most;
        from = from_rising(low);
        Number span = from_rising(high) - from;
        scale = as_numbers && span > 0 && span < (Number)BEYOND ? (KEYS - 1) / span : 0;
        scale = scale < (Number)BEYOND ? scale : 0;
        shift = 0;
        for (Key gap = high - low; scale == 0 && gap >> shift >= KEYS;)
            shift++;
    }

    /* One of KEYS that rises with the value, or -1 */
    __device__ int key(Number value) const
    {
        Key bits = rising(value);
        if (bits < low || bits > high)
            return -1;
        if (scale == 0)
            return (int)((bits - low) >> shift);
        return (int)min((value - from) * scale, (Number)(KEYS - 1));
    }
};

/* Least and greatest of what is known. */
template <class T> struct Range {
    T least, most;
};

template <class T> __device__ static inline Range<T> of_lane(Range<T> own, int other)
{
    return {of_lane(own.least, other), of_lane(own.most, other)};
}

template <class T> __device__ static Range<T> ranged(Range<T> part)
{
    return joined(part, [](Range<T> one, Range<T> other) {
        return Range<T>{min(one.least, other.least), max(one.most, other.most)};
    });
}

/* Bounds of all values: those of the first of their bits, which threads hand over in one go. */
template <class At> __device__ static Range<KeyOf<At>> bounds(const Values<At> &values)
{
    const int beyond = 8 * (sizeof(KeyOf<At>) - sizeof(unsigned));
    Range<unsigned> part = {~0u, 0};
    values.each([&](NumberOf<At> value) {
        unsigned first = (unsigned)(rising(value) >> beyond);
        if (value < (NumberOf<At>)BEYOND)
            part = {min(part.least, first), max(part.most, first)};
    });
    part = ranged(part);
    KeyOf<At> least = part.least, most = part.most, rest = ((KeyOf<At>)1 << beyond) - 1;
    return {least << beyond, most << beyond | rest};
}

/* Bounds of the values of one key. */
template <class At>
__device__ static Range<KeyOf<At>> bounds_of_key(
    const Values<At> &values, const Narrowed<NumberOf<At>> &narrowed, int key)
{
    Range<KeyOf<At>> part = {(KeyOf<At>)~0ull, 0};
    values.each([&](NumberOf<At> value) {
        KeyOf<At> bits = rising(value);
        if (narrowed.key(value) == key)
            part = {min(part.least, bits), max(part.most, bits)};
    });
    return ranged(part);
}

/* What the threads of a block share while they look for a value. */
template <class Key> struct Sought {
    int keys[KEYS]; /* how many values have each */
    int key, count, rank, taken;
    Key few[FEW], found[2];
};

template <class Key> struct Pair {
    Key first, second;
};

/* Narrow values down to those of the key that is looked for: whether there are so many known ones.
 * Keys are cleared before, and a barrier came after. */
template <class At>
__device__ static bool narrowed_to_key(
    const Values<At> &values, Narrowed<NumberOf<At>> *narrowed, Sought<KeyOf<At>> *sought)
{
    int each = max(KEYS / (int)blockDim.x, 1), begin = threadIdx.x * each, last = -1, run = 0;
    values.each([&](NumberOf<At> value) {
        int key = narrowed->key(value);
        if (key != last && run > 0) { /* threads that add to one place wait for each other */
            atomicAdd(&sought->keys[last], run);
            run = 0;
        }
        last = key;
        run += key >= 0;
    });
    if (run > 0)
        atomicAdd(&sought->keys[last], run);
    __syncthreads();
    int own = 0, total, end = min(begin + each, KEYS);
    for (int k = begin; k < end; k++)
        own += sought->keys[k];
    int before = found_before(own, &total), rank = narrowed->rank;
    if (total <= rank)
        return false;
    for (int k = begin; k < end; before += sought->keys[k++])
        if (before <= rank && rank < before + sought->keys[k]) {
            sought->key = k;
            sought->count = sought->keys[k];
            sought->rank = rank - before;
            sought->taken = 0;
        }
    __syncthreads();
    narrowed->rank = sought->rank;
    return true;
}

/* Of a few values, which threads collect, that of the rank and the next, if it is among them. */
template <class At>
__device__ static Pair<KeyOf<At>> among_few(
    const Values<At> &values, const Narrowed<NumberOf<At>> &narrowed, Sought<KeyOf<At>> *sought)
{
    int count = sought->count;
    values.each([&](NumberOf<At> value) {
        if (narrowed.key(value) == sought->key)
            sought->few[atomicAdd(&sought->taken, 1)] = rising(value);
    });
    __syncthreads();
    for (int k = threadIdx.x; k < count; k += blockDim.x) {
        KeyOf<At> own = sought->few[k];
        int before = 0;
        for (int other = 0; other < count; other++)
            before += sought->few[other] < own || (sought->few[other] == own && other < k);
        if (before == narrowed.rank || before == narrowed.rank + 1)
            sought->found[before - narrowed.rank] = own;
    }
    __syncthreads();
    return {sought->found[0], narrowed.rank + 1 < count ? sought->found[1] : (KeyOf<At>)0};
}

/* Value of a rank, and the next as far as it is found on the way, else 0. */
template <class At>
__device__ static Pair<KeyOf<At>> selected(const Values<At> &values, int rank)
{
    __shared__ Sought<KeyOf<At>> sought;
    Narrowed<NumberOf<At>> narrowed;
    for (bool again = false;; again = true) {
        for (int k = threadIdx.x; k < KEYS; k += blockDim.x)
            sought.keys[k] = 0;
        Range<KeyOf<At>> range = again ? bounds_of_key(values, narrowed, sought.key) : bounds(values);
        if (again && range.least == range.most)
            return {range.least, narrowed.rank + 1 < sought.count ? range.least : (KeyOf<At>)0};
        narrowed.set(range.least, range.most, !again);
        narrowed.rank = again ? narrowed.rank : rank;
        if (!narrowed_to_key(values, &narrowed, &sought))
            return {rising((NumberOf<At>)BEYOND), rising((NumberOf<At>)BEYOND)};
        if (sought.count <= FEW)
            return among_few(values, narrowed, &sought);
    }
}

struct Two {
    double first, second;
};

/* Value of a rank, 0 the least, among at(0) to at(number - 1), and that of a rank `further` on: 0 or
 * 1. All threads have read what `at` reads when the first comes back. */
template <class At>
__device__ static Two two_ranked(At at, int number, int rank, int further)
{
    Values<At> values(at, number);
    Pair<KeyOf<At>> found = selected(values, rank);
    if (!further)
        found.second = found.first;
    if (found.second == 0) {
        KeyOf<At> beyond = (KeyOf<At>)~0ull;
        values.each([&](NumberOf<At> value) {
            KeyOf<At> bits = rising(value);
            beyond = bits > found.first ? min(beyond, bits) : beyond;
        });
        found.second = ranged(Range<KeyOf<At>>{beyond, 0}).least;
    }
    return {from_rising(found.first), from_rising(found.second)};
}

template <class At> __device__ static double ranked(At at, int number, int rank)
{
    return two_ranked(at, number, rank, 0).first;
}

/* Median of the `known` least of them: what is unknown is BEYOND, or greater than all that is not. */
template <class At> __device__ static double median_of(At at, int number, int known)
{
    Two middle = two_ranked(at, number, (known - 1) / 2, 1 - known % 2);
    return known % 2 ? middle.first : 0.5 * (middle.first + middle.second);
}

template <class At> __device__ static double median(At at, int number)
{
    return median_of(at, number, number);
}
