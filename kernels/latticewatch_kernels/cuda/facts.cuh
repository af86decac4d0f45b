/* Slots of a frame's facts, as in resident/facts.py, which says what they hold. */

#ifndef FACTS /* what several headers include */
#define FACTS

enum Fact {
    FACT_REFUSAL = 0,
    FACT_PEAKS = 1,
    FACT_RECIPROCAL = 2,
    FACT_SIGNIFICANCE = 6,
    FACT_HARMONICS = 7,
    FACT_HARMONIC_NOISE = 8,
    FACT_VECTORS = 9,
    FACT_ORIGIN = 13,
    FACT_HEIGHTS = 15,
    FACT_CONSTANT = 18,
    FACT_FIRST_CELL = 19,
    FACT_CELLS = 21,
    FACT_ABOVE_EMPTY = 23,
    FACT_SIGMA = 24,
    FACT_HEIGHT = 25,
    FACT_WINDOW = 26,
    FACT_LEAK = 27,
    FACT_FACTOR = 28,
    FACT_HOLES = 29,
    FACT_LINE = 30,
    FACT_MATCHED_LINE = 33,
    FACT_UNIT = 36,
    FACT_CROSSTALK = 37,
    FACT_HOST = 38,
    FACT_OFFSET = 41,
    FACT_NOISE_BY_SITE = 44,
    FACT_NOISE = 47,
    FACT_SITES = 48,
    FACT_STARTS = 49,
    FACT_FOUND = 52,
    FACT_REPORTED = 53,
    FACT_SHARES = 54,
    FACT_THRESHOLD = 58,
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
