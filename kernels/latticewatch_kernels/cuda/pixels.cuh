/* Pixels of a frame as it was acquired; after `neighbours.cuh`. */

/* Pixel of a frame; types are numbered as in resident.conditioning.KINDS. */
__device__ static inline double pixel(const char *frame, int kind, long long place)
{
    switch (kind) {
    case 0: return ((const unsigned char *)frame)[place];
    case 1: return ((const unsigned short *)frame)[place];
    case 2: return ((const unsigned int *)frame)[place];
    case 3: return ((const signed char *)frame)[place];
    case 4: return ((const short *)frame)[place];
    case 5: return ((const int *)frame)[place];
    case 6: return ((const float *)frame)[place];
    default: return ((const double *)frame)[place];
    }
}

/* Neighbouring pixels of a frame of a type. */
template <class T>
__device__ static Neighbours<double> pixels_of(const char *frame, long long first, int here)
{
    Neighbours<T> read = neighbours((const T *)frame + first, here);
    Neighbours<double> pixels;
    for (int j = 0; j < NEIGHBOURS; j++)
        pixels.of[j] = read.of[j];
    return pixels;
}

__device__ static inline Neighbours<double> pixels(const char *frame, int kind, long long first, int here)
{
    switch (kind) {
    case 0: return pixels_of<unsigned char>(frame, first, here);
    case 1: return pixels_of<unsigned short>(frame, first, here);
    case 2: return pixels_of<unsigned int>(frame, first, here);
    case 3: return pixels_of<signed char>(frame, first, here);
    case 4: return pixels_of<short>(frame, first, here);
    case 5: return pixels_of<int>(frame, first, here);
    case 6: return pixels_of<float>(frame, first, here);
    default: return pixels_of<double>(frame, first, here);
    }
}
