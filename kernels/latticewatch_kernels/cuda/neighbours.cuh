/* Neighbouring values that one thread does at once.
 *
 * With one to a thread a large image is as many blocks as a device can start, not as many bytes as it
 * can move: each thread has few of them under way, and waits for its parameters as long as for these.
 */

#define NEIGHBOURS 4 /* values to a thread, as in launch.NEIGHBOURS */

/* So many values as the widest load and store have them. */
template <class T> struct alignas(NEIGHBOURS * sizeof(T)) Neighbours {
    T of[NEIGHBOURS];
};

/* First of this thread's values. */
__device__ static inline long long first_neighbour()
{
    return NEIGHBOURS * ((long long)blockIdx.x * blockDim.x + threadIdx.x);
}

/* How many of this thread's values there are, none where the last comes before the first. */
__device__ static inline int neighbours_here(long long first, long long number)
{
    return (int)min(number - first, (long long)NEIGHBOURS);
}

template <class T> __device__ static inline bool at_once(const T *place, int here)
{
    return here == NEIGHBOURS && (unsigned long long)place % sizeof(Neighbours<T>) == 0;
}

/* Whether all of some places have so many values that lie as the device wants them; see `fetch`. */
template <class T, class... More>
__device__ static inline bool all_at_once(int here, const T *from, Neighbours<T> &, More &&...more)
{
    if constexpr (sizeof...(more) > 0)
        return at_once(from, here) && all_at_once(here, more...);
    else
        return at_once(from, here);
}

template <bool AT_ONCE, class T, class... More>
__device__ static inline void fetch_each(
    int here, const T *from, Neighbours<T> &into, More &&...more)
{
    if constexpr (AT_ONCE)
        into = *(const Neighbours<T> *)from;
    else
        for (int j = 0; j < NEIGHBOURS; j++)
            into.of[j] = from[min(j, here - 1)];
    if constexpr (sizeof...(more) > 0)
        fetch_each<AT_ONCE>(here, more...);
}

/* Read so many values from each of some places on; the last is repeated. Each place is followed by what
 * is to have its values: all are asked for before the first is waited for. */
template <class... Pairs> __device__ static inline void fetch(int here, Pairs &&...pairs)
{
    if (all_at_once(here, pairs...))
        fetch_each<true>(here, pairs...);
    else
        fetch_each<false>(here, pairs...);
}

/* The same from one place. */
template <class T> __device__ static inline Neighbours<T> neighbours(const T *from, int here)
{
    Neighbours<T> read;
    fetch(here, from, read);
    return read;
}

/* Put so many of some values from a place on. */
template <class T> __device__ static inline void put(T *to, int here, const Neighbours<T> &values)
{
    if (at_once(to, here)) {
        *(Neighbours<T> *)to = values;
        return;
    }
    for (int j = 0; j < NEIGHBOURS; j++)
        if (j < here)
            to[j] = values.of[j];
}

/* A bin of a spectrum, which is read and written at once. */
struct alignas(8) Bin {
    float real, imaginary;
};

/* Row and column of a pixel. */
struct Pixel {
    int row, column;

    __device__ void next(int columns)
    {
        if (++column == columns) {
            column = 0;
            row++;
        }
    }
};

/* Of fewer pixels than 2^32: to divide longer numbers takes a device long. */
__device__ static inline Pixel pixel_at(long long place, int columns)
{
    unsigned row = (unsigned)place / (unsigned)columns;
    return {(int)row, (int)((unsigned)place - row * (unsigned)columns)};
}
