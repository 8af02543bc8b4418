/* The kernel sets that this build carries, best first. */
#include "kernels.h"

#include "engine.h"

#include <string.h>
#include <time.h>

static const q_kernels *const SETS[] = {
#if defined(__x86_64__)
    &q_kernels_amx,
    &q_kernels_avx512vnni,
    &q_kernels_avx2,
#elif defined(__aarch64__)
    &q_kernels_neon,
#endif
    &q_kernels_scalar,
};

enum { COUNT = sizeof SETS / sizeof *SETS };

const char *q_kernels_name(uint32_t i) {
    for (uint32_t s = 0; s < COUNT; s++)
        if (SETS[s]->supported() && i-- == 0)
            return SETS[s]->name;
    return NULL;
}

const q_kernels *q_kernels_find(const char *name) {
    for (uint32_t s = 0; s < COUNT; s++)
        if (!strcmp(SETS[s]->name, name) && SETS[s]->supported())
            return SETS[s];
    return NULL;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double q_kernels_peak(const char *kernels, double seconds) {
    const q_kernels *set = q_kernels_find(kernels);
    if (!set || !set->peak)
        return 0;
    double best = 0, start = now(), begin = start;
    while (begin - start < seconds) {
        double macs = set->peak(100000), end = now();
        best = macs / (end - begin) > best ? macs / (end - begin) : best;
        begin = end;
    }
    return best;
}
