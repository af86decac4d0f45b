/* A crystal of three sublattices, and the waves that its image is made of. */

#define TAU 6.283185307179586

/* Vectors a1 and a2 (x, y), the origin, and the heights of the sublattices. */
struct Crystal {
    double a[4], origin[2], heights[3];
};

/* A harmonic: indices, cycles per pixel along x and y, amplitude. */
struct Wave {
    double h, k, x, y, real, imaginary;
};

__device__ static double area(const double *a)
{
    return a[0] * a[3] - a[1] * a[2];
}

/* Reciprocal vectors (x, y) of two vectors, or the other way round. */
__device__ static __noinline__ void reciprocal_of(const double *a, double *b)
{
    double whole = area(a);
    b[0] = a[3] / whole;
    b[1] = -a[2] / whole;
    b[2] = -a[1] / whole;
    b[3] = a[0] / whole;
}

/* The lattice vectors of the ring around a site, 60 degrees from one to the next. */
__device__ static __noinline__ void ring(const double *a, int which, double *vector)
{
    int sign = which % 6 < 3 ? 1 : -1;
    int first = which % 3 < 2 ? sign : 0, second = which % 3 > 0 ? sign : 0;
    for (int axis = 0; axis < 2; axis++)
        vector[axis] = first * a[axis] + second * a[2 + axis];
}

/* Where a site of a sublattice is, pixels, if a1 is the ring's vector `turn` and a2 that two on. */
__device__ static void site(const Crystal &crystal, int turn, int sublattice, double *point)
{
    double first[2], second[2], along = sublattice / 3.0, aside = 2 * sublattice % 3 / 3.0;
    ring(crystal.a, turn, first);
    ring(crystal.a, turn + 2, second);
    for (int axis = 0; axis < 2; axis++)
        point[axis] = crystal.origin[axis] + along * first[axis] + aside * second[axis];
}

/* Part of a harmonic in the motif at a point. */
__device__ static __noinline__ double motif_at(const Wave &wave, const double *point)
{
    double phase = TAU * (point[0] * wave.x + point[1] * wave.y);
    return 2.0 * (wave.real * cos(phase) - wave.imaginary * sin(phase));
}

/* Remainder that is never negative; 0 where the number is none. */
__device__ static int remainder_of(double number, int divisor)
{
    if (!(fabs(number) < 1e9))
        return 0;
    int rest = (int)number % divisor;
    return rest < 0 ? rest + divisor : rest;
}

/* Structure factor of the sites for indices (h, k): whole thirds of a turn. */
__device__ static __noinline__ void structure(
    const double *heights, double h, double k, double *real, double *imaginary)
{
    const double half = -0.5, root = -0.8660254037844386;
    int step = (remainder_of(h, 3) + 2 * remainder_of(k, 3)) % 3;
    *real = *imaginary = 0.0;
    for (int sublattice = 0; sublattice < 3; sublattice++) {
        int third = step * sublattice % 3;
        *real += heights[sublattice] * (third ? half : 1.0);
        *imaginary += heights[sublattice] * (third == 0 ? 0.0 : third == 1 ? root : -root);
    }
}

/* Column of sublattice 0 that is nearest to the middle; twin: registration._origin_near_centre. */
__device__ static void move_to_centre(Crystal *crystal, int rows, int columns)
{
    double centre[2] = {0.5 * (columns - 1), 0.5 * (rows - 1)}, b[4], base[2], origin[2], best = -1.0;
    reciprocal_of(crystal->a, b);
    for (int k = 0; k < 2; k++) {
        origin[k] = crystal->origin[k];
        base[k] = rint((centre[0] - crystal->origin[0]) * b[2 * k]
            + (centre[1] - crystal->origin[1]) * b[2 * k + 1]);
    }
    #pragma unroll 1
    for (int corner = 0; corner < 9; corner++) {
        double first = base[0] + corner % 3 - 1, second = base[1] + corner / 3 - 1, point[2];
        for (int axis = 0; axis < 2; axis++)
            point[axis] = first * crystal->a[axis] + second * crystal->a[2 + axis] + origin[axis];
        double across = point[0] - centre[0], down = point[1] - centre[1];
        double distance = across * across + down * down; /* squared, which orders alike */
        if (best < 0.0 || distance < best) {
            best = distance;
            crystal->origin[0] = point[0];
            crystal->origin[1] = point[1];
        }
    }
}

/* Cells that hold every site of a frame; twin: Lattice.covering_cells. */
__device__ static void cover(const Crystal &crystal, int rows, int columns, double *first, double *cells)
{
    double b[4];
    reciprocal_of(crystal.a, b);
    for (int k = 0; k < 2; k++) {
        double low = 0.0, high = 0.0;
        for (int corner = 0; corner < 4; corner++) {
            double x = corner % 2 * columns - crystal.origin[0];
            double y = corner / 2 * rows - crystal.origin[1];
            double place = x * b[2 * k] + y * b[2 * k + 1];
            low = corner ? min(low, place) : place;
            high = corner ? max(high, place) : place;
        }
        first[k] = floor(low) - 1.0;
        cells[k] = ceil(high) - floor(low) + 2.0;
    }
}
