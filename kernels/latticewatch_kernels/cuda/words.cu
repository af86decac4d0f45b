/* Memory that is cleared, and copied, word by word. */

extern "C" __global__ void cleared(int words, int *at)
{
    int k = blockIdx.x * blockDim.x + threadIdx.x;
    if (k < words)
        at[k] = 0;
}

extern "C" __global__ void copied(const int *from, int words, int *to)
{
    int k = blockIdx.x * blockDim.x + threadIdx.x;
    if (k < words)
        to[k] = from[k];
}
