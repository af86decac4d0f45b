/* What CUDA gives CuPy's own kernels without an include. */

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#define __CUDACC_VER_MAJOR__ 13 /* by which CuPy takes CUDA's own 16-bit floats */
#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __noinline__
#define __restrict__
#define __launch_bounds__(...)
#define __shared__ static
#define __align__(bytes) __attribute__((aligned(bytes)))

using std::isfinite; using std::isinf; using std::isnan; using std::max; using std::min;
using std::signbit;

static inline int __popc(unsigned value) { return __builtin_popcount(value); }
static inline int __popcll(unsigned long long value) { return __builtin_popcountll(value); }

template <class To, class From> static inline To same_bits(From value)
{
    static_assert(sizeof(To) == sizeof(From));
    To result;
    std::memcpy(&result, &value, sizeof result);
    return result;
}
static inline float __int_as_float(int value) { return same_bits<float>(value); }
static inline int __float_as_int(float value) { return same_bits<int>(value); }
static inline double __longlong_as_double(long long value) { return same_bits<double>(value); }
static inline long long __double_as_longlong(double value) { return same_bits<long long>(value); }

template <class T, class U, class V> static inline T atomicCAS(T *place, U expected, V value)
{
    T old = *place;
    *place = old == (T)expected ? (T)value : old;
    return old;
}
