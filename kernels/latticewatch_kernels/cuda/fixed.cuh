/* Numbers whose sums do not depend on the order of adding: whole multiples of 2^-32. */

#define FIXED_UNITS 4294967296.0

typedef unsigned long long fixed; /* negative numbers as their complement, which CUDA can add */

__device__ static inline void add_fixed(fixed *sum, double part)
{
    atomicAdd(sum, (fixed)(long long)rint(part * FIXED_UNITS));
}

__device__ static inline double from_fixed(fixed sum)
{
    return (double)(long long)sum / FIXED_UNITS;
}
