/* cuFFT: transforms of one and two axes, in double precision, of any size. As the real one does, a
 * transform to real numbers writes over what it was given. */

#include "stand_in.hpp"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstring>
#include <map>

typedef std::complex<double> Number;
typedef std::vector<Number> Numbers;

enum Result { SUCCESS = 0, INVALID_PLAN = 1, EXEC_FAILED = 6, NOT_IMPLEMENTED = 14 };
enum Type { R2C = 0x2a, C2R = 0x2c, C2C = 0x29, D2Z = 0x6a, Z2D = 0x6c, Z2Z = 0x69 };

/* Waves exp(sign 2 pi i k / n). */
static const Numbers &waves(int n, int sign)
{
    static std::map<std::pair<int, int>, Numbers> known;
    Numbers &made = known[{n, sign}];
    if (made.empty())
        for (int k = 0; k < n; k++)
            made.push_back(std::polar(1.0, sign * 2.0 * M_PI * k / n));
    return made;
}

/* Cooley & Tukey, Math. Comput. 19, 297 (1965), by the least prime factor. */
static void transform(
    const Number *in, int stride, Number *out, Number *other, int n, const Numbers &wave)
{
    if (n == 1) {
        *out = *in;
        return;
    }
    int all = (int)wave.size(), factor = 2;
    while (n % factor)
        factor++;
    int part = n / factor, step = all / n;
    for (int r = 0; r < factor; r++)
        transform(in + r * stride, stride * factor, other + r * part, out + r * part, part, wave);
    Numbers turned(factor);
    for (int k = 0; k < part; k++) {
        for (int r = 0; r < factor; r++)
            turned[r] = other[r * part + k] * wave[(long)r * k * step % all];
        for (int q = 0; q < factor; q++) {
            Number sum = 0.0;
            for (int r = 0; r < factor; r++)
                sum += turned[r] * wave[(long)r * q % factor * part * step % all];
            out[k + q * part] = sum;
        }
    }
}

static void transform_axes(Numbers &values, int rows, int columns, int sign)
{
    Numbers line, out(std::max(rows, columns)), other(out);
    for (int y = 0; y < rows; y++) {
        Number *row = values.data() + (long)y * columns;
        transform(row, 1, out.data(), other.data(), columns, waves(columns, sign));
        std::copy_n(out.begin(), columns, row);
    }
    for (int x = 0; x < columns && rows > 1; x++) {
        transform(values.data() + x, columns, out.data(), other.data(), rows, waves(rows, sign));
        for (int y = 0; y < rows; y++)
            values[(long)y * columns + x] = out[y];
    }
}

struct Plan {
    int rows = 1, columns = 1, type = 0, batch = 1;
    void *stream = nullptr, *scratch = nullptr;
};

static std::map<int, Plan> plans;

template <class Real> struct Transformed {
    const Plan plan;
    void *in, *out;
    int sign;

    void one(long frame, Numbers &values) const
    {
        typedef std::complex<Real> Small;
        long full = (long)plan.rows * plan.columns, wide = plan.columns / 2 + 1;
        long half = plan.rows * wide;
        bool from_real = plan.type == R2C || plan.type == D2Z;
        bool to_real = plan.type == C2R || plan.type == Z2D;
        auto *small = (Small *)in + frame * (to_real ? half : full);
        for (long k = 0; k < full; k++) {
            long y = k / plan.columns, x = k % plan.columns;
            if (from_real)
                values[k] = ((Real *)in)[frame * full + k];
            else if (!to_real)
                values[k] = Number(small[k]);
            else if (x < wide)
                values[k] = Number(small[y * wide + x]);
            else /* the other half is known by it */
                values[k] = std::conj(Number(
                    small[(plan.rows - y) % plan.rows * wide + plan.columns - x]));
        }
        transform_axes(values, plan.rows, plan.columns, sign);
        if (to_real)
            std::memset((void *)small, 0x55, half * sizeof(Small));
        for (long k = 0; k < full; k++) {
            long y = k / plan.columns, x = k % plan.columns;
            if (to_real)
                ((Real *)out)[frame * full + k] = (Real)values[k].real();
            else if (!from_real)
                ((Small *)out)[frame * full + k] = Small(values[k]);
            else if (x < wide)
                ((Small *)out)[frame * half + y * wide + x] = Small(values[k]);
        }
    }

    void operator()() const
    {
        Numbers values((long)plan.rows * plan.columns);
        std::memset(plan.scratch, 0x77, 1024);
        for (int frame = 0; frame < plan.batch; frame++)
            one(frame, values);
    }
};

template <class Real> static int asked(int handle, void *in, void *out, int sign)
{
    Hold hold(gate);
    auto plan = plans.find(handle);
    if (plan == plans.end() || !plan->second.scratch)
        return INVALID_PLAN;
    Transformed<Real> work = {plan->second, in, out, sign};
    return ask(stream_of(plan->second.stream), work) ? EXEC_FAILED : SUCCESS;
}

extern "C" {

int cufftCreate(int *plan)
{
    Hold hold(gate);
    static int last = 0;
    plans[*plan = ++last] = Plan();
    return SUCCESS;
}

int cufftDestroy(int plan)
{
    Hold hold(gate);
    plans.erase(plan);
    return SUCCESS;
}

int cufftSetAutoAllocation(int, int)
{
    return SUCCESS;
}

int cufftSetWorkArea(int plan, void *scratch)
{
    Hold hold(gate);
    plans[plan].scratch = scratch;
    return SUCCESS;
}

int cufftSetStream(int plan, void *stream)
{
    Hold hold(gate);
    plans[plan].stream = stream;
    return SUCCESS;
}

int cufftGetVersion(int *version)
{
    *version = 12000;
    return SUCCESS;
}

int cufftMakePlan1d(int plan, int size, int type, int batch, size_t *scratch)
{
    Hold hold(gate);
    plans[plan] = {1, size, type, batch};
    *scratch = 1024;
    return SUCCESS;
}

int cufftMakePlanMany(
    int plan, int rank, int *sides, int *, int in_stride, int, int *, int out_stride, int, int type,
    int batch, size_t *scratch)
{
    if (rank > 2 || in_stride > 1 || out_stride > 1)
        return NOT_IMPLEMENTED;
    Hold hold(gate);
    plans[plan] = {rank == 2 ? sides[0] : 1, sides[rank - 1], type, batch};
    *scratch = 1024;
    return SUCCESS;
}

int cufftExecC2C(int plan, void *in, void *out, int sign) { return asked<float>(plan, in, out, sign); }
int cufftExecR2C(int plan, void *in, void *out) { return asked<float>(plan, in, out, -1); }
int cufftExecC2R(int plan, void *in, void *out) { return asked<float>(plan, in, out, 1); }
int cufftExecZ2Z(int plan, void *in, void *out, int sign) { return asked<double>(plan, in, out, sign); }
int cufftExecD2Z(int plan, void *in, void *out) { return asked<double>(plan, in, out, -1); }
int cufftExecZ2D(int plan, void *in, void *out) { return asked<double>(plan, in, out, 1); }

} /* extern "C" */
