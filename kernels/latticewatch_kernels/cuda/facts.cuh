/* Slots of a frame's facts, as in resident/facts.py, which says what they hold. */

#ifndef FACTS
#define FACTS

enum Fact {
    FACT_REFUSAL = 0,
    FACT_STATISTICS = 1,
    FACT_PEAKS = 3,
    FACT_RECIPROCAL = 4,
    FACT_SIGNIFICANCE = 8,
    FACT_HARMONICS = 9,
    FACT_HARMONIC_NOISE = 10,
    FACT_VECTORS = 11,
    FACT_ORIGIN = 15,
    FACT_HEIGHTS = 17,
    FACT_CONSTANT = 20,
    FACT_FIRST_CELL = 21,
    FACT_CELLS = 23,
    FACT_ABOVE_EMPTY = 25,
    FACT_SIGMA = 26,
    FACT_HEIGHT = 27,
    FACT_WINDOW = 28,
    FACT_LEAK = 29,
    FACT_FACTOR = 30,
    FACT_HOLES = 31,
    FACT_MISSING = 32,
    FACT_LINE = 34,
    FACT_MATCHED_LINE = 37,
    FACT_UNIT = 40,
    FACT_CROSSTALK = 41,
    FACT_HOST = 42,
    FACT_OFFSET = 45,
    FACT_NOISE_BY_SITE = 48,
    FACT_NOISE = 51,
    FACT_SITES = 52,
    FACT_STARTS = 53,
    FACT_FOUND = 56,
    FACT_REPORTED = 57,
    FACT_SHARES = 58,
    FACT_THRESHOLD = 62,
    FACT_CLEAR = 63,
};

enum Refusal {
    REFUSAL_NONE = 0,
    REFUSAL_FEW_PEAKS = 1,
    REFUSAL_NOT_HEXAGONAL = 2,
    REFUSAL_NO_HARMONIC = 3,
    REFUSAL_TOO_SMALL = 4,
    REFUSAL_NO_SITE = 6,
    REFUSAL_NO_ROOM = 5,
};

/* Refuse a frame, unless it was before; one thread. */
__device__ static inline void refuse(double *facts, int reason)
{
    if (facts[FACT_REFUSAL] == 0.0)
        facts[FACT_REFUSAL] = reason;
}

/* A whole number from 0 to most, whatever the slot holds. */
__device__ static inline int counted(const double *facts, int slot, int most)
{
    double number = facts[slot];
    return number >= 0.0 ? (int)min(number, (double)most) : 0;
}

#endif
