/* What a file is compiled for, in the words of GCC (10 and later) and Clang (14 and later).

       Q_TARGET_BEGIN(Q_AVX2)
       ... functions that use AVX2 and FMA ...
       Q_TARGET_END

   Headers come before, those with intrinsics among them; only headers whose inline functions belong
   to the same target come inside. */
#ifndef QUASAR_TARGET_H
#define QUASAR_TARGET_H

#define Q_AVX2 "avx2,fma"
#define Q_AVX512_VNNI "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma"
#define Q_AVX512_VBMI "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,fma"

#define Q_PRAGMA(text) _Pragma(#text)

#if defined(__clang__)
/* Clang knows no target pragma; it gives an attribute to each function of a region. */
#define Q_TARGET_BEGIN(features)                                                                   \
    Q_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define Q_TARGET_END Q_PRAGMA(clang attribute pop)
#else
#define Q_TARGET_BEGIN(features) Q_PRAGMA(GCC push_options) Q_PRAGMA(GCC target(features))
#define Q_TARGET_END Q_PRAGMA(GCC pop_options)
#endif

/* For a function whose arguments are to be constants in it. */
#define Q_INLINE static inline __attribute__((always_inline))

/* Before a loop. Q_UNROLL: of a constant number of turns, at most `most`: unroll all of it, before
   arrays become registers (Clang does that early only when told to unroll fully). Q_UNROLL_BY: of
   any number of turns: so many at a time. */
#if defined(__clang__)
#define Q_UNROLL(most) Q_PRAGMA(clang loop unroll(full))
#define Q_UNROLL_BY(times) Q_PRAGMA(clang loop unroll_count(times))
#else
#define Q_UNROLL(most) Q_PRAGMA(GCC unroll most)
#define Q_UNROLL_BY(times) Q_PRAGMA(GCC unroll times)
#endif

#endif
