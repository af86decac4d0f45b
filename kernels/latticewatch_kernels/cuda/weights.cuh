/* What columns are weighed by, and which of them are. */

#include "facts.cuh"

#define AMOUNTS 4 /* most shares of itself that a column may lack */
#define LOCAL 1   /* the sublattice that is judged */

/* Constants, in the order of resident.vacancies.Weighing. */
enum Weight {
    W_THRESHOLD, W_VACANCY_THRESHOLD, W_LEAST_HOST, W_SITE_WEIGHT, W_SUREST, W_EVIDENCE, W_OVERCLAIM,
    W_ODD_LEVEL, W_EXPECTED_SHARE, W_EXPECTED_SITES, W_RARER, W_STEPS, W_LEAST_THRESHOLD,
    W_BRIGHT_SIGMAS, W_LOGIT_SIGMAS, W_LONGEST_LOGIT, W_OUTSTANDING_SIGMAS, W_LEAST_ADATOM,
    W_COVERED_LEVEL, W_OUTSTANDING_RANGE, W_AMOUNTS, W_LACKING
};

/* Where the judged sublattice begins among `sites`, and how many of it there are, as far as there is
 * room; they are numbered from 0 on. */
__device__ static inline int judged_sites(const double *facts, int sites, int room, int *begin)
{
    int total = counted(facts, FACT_SITES, sites);
    *begin = min(counted(facts, FACT_STARTS + LOCAL, sites), total);
    int number = min(counted(facts, FACT_STARTS + LOCAL + 1, sites), total) - *begin;
    return min(max(number, 0), room);
}
