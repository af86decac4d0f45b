/* Noise of a pixel by the line over intensity: slope, base and least variance. Twin: noise.NoiseLine. */

__device__ static inline float variance_at(float periodic, const double *line)
{
    return fmaxf(periodic * (float)line[0] + (float)line[1], (float)line[2]);
}
