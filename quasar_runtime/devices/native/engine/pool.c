/* A persistent pool. During a series of operations helpers watch for the next one, giving their core
   away now and then to whoever else wants it; after the series they do so for a short while more and
   then sleep on a condition variable.

   Each thread has a share of the items, takes those first, then what is left of the others' shares.
   Operations number their items by tokens, so that a thread meets again the tokens that its own
   cache holds, and a helper that comes late costs nothing but its help.

   gate holds OPEN while items may be left, plus the number of helpers inside. A helper enters only
   through an open gate; the caller closes it and waits until all have left. So a helper that was
   asleep, or not scheduled by the system, costs nothing: the caller does the work itself.

   What orders what, access by access. item, context, and each share's end are plain; the caller
   alone writes them, between rounds.

   gate   The caller stores OPEN with release, after item, context and the shares. A helper's
          compare-exchange from an open gate acquires: it reads that store, or another helper's
          read-modify-write after it, which continues its release sequence. So what a helper reads
          inside is of the round whose gate it went through. An exchange that fails reads nothing
          more: relaxed.
          A helper leaves with a release fetch_sub, after its last item. The caller closes the gate
          by a relaxed fetch_and, which hides no helper's release, for it too continues the release
          sequences, and reads 0 with acquire: what all helpers did inside, their results and their
          last reads of the shares, lies before. So the caller may return, and write the shares of
          the next round. Nobody goes in between: an exchange expects OPEN and finds it closed.
   next   Counters of relaxed fetch_adds: each item goes to one thread by the atomicity alone. The
          caller's store comes before the gate's OPEN, the reads after going in.
   round  Tells helpers that there is something to go in for. Release after the gate's OPEN, acquire
          when seen, so that whoever sees the round finds the gate open, or closed again. A helper
          that sees it late misses a round, which costs its help only.
   series, stop
          Advice to those awake: relaxed, and it may be seen late. A helper goes to sleep only when
          it finds both 0 with `lock` held, and whoever sets one holds `lock` and wakes all: none
          sleeps through a series or through the end. Nothing else is read on their word;
          pthread_join orders a helper's end before the pool's memory goes. */
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum {
    OPEN = 1 << 16,
    PATIENCE = 200000, /* ns that a thread spins before it gives its core away */
    PAUSES = 64,       /* between looks at the clock; a pause takes 10 to 150 cycles */
};

/* The items of a thread that nobody has taken yet: next .. end - 1. */
typedef struct {
    _Alignas(64) atomic_uint next;
    uint32_t end;
} q_share;

struct q_pool {
    uint32_t threads;
    void (*enter)(void);
    void (*leave)(void);
    pthread_t *helpers;
    uint32_t started;

    q_item *item;
    void *context;
    q_share *shares; /* one a thread */
    _Alignas(64) atomic_uint gate;
    atomic_uint round;
    atomic_int series, stop;

    pthread_mutex_t lock;
    pthread_cond_t wake;
};

typedef struct {
    q_pool *pool;
    uint32_t thread;
} q_helper;

static inline void pause_core(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* A wait in progress; all zero at its beginning. */
typedef struct {
    unsigned pauses;
    uint64_t since; /* first look at the clock */
} q_wait;

/* Pause once. Whether PATIENCE is over; from then on, true at every look at the clock. */
static inline int spin(q_wait *wait) {
    pause_core();
    if (++wait->pauses % PAUSES)
        return 0;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    uint64_t now = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    if (!wait->since)
        wait->since = now;
    return now - wait->since >= PATIENCE;
}

static void work(q_pool *pool, uint32_t thread) {
    if (pool->enter)
        pool->enter();
    for (uint32_t i = 0; i < pool->threads; i++) {
        q_share *share = &pool->shares[(thread + i) % pool->threads];
        uint32_t item;
        while ((item = atomic_fetch_add_explicit(&share->next, 1, memory_order_relaxed)) <
               share->end)
            pool->item(pool->context, item, thread);
    }
    if (pool->leave)
        pool->leave();
}

/* Through the gate if it is open. */
static int go_in(q_pool *pool) {
    unsigned gate = atomic_load_explicit(&pool->gate, memory_order_relaxed);
    while (gate & OPEN)
        if (atomic_compare_exchange_weak_explicit(&pool->gate, &gate, gate + 1,
                                                  memory_order_acquire, memory_order_relaxed))
            return 1;
    return 0;
}

static int in_series(q_pool *pool) {
    return atomic_load_explicit(&pool->series, memory_order_relaxed);
}

static int stopped(q_pool *pool) {
    return atomic_load_explicit(&pool->stop, memory_order_relaxed);
}

static unsigned current_round(q_pool *pool) {
    return atomic_load_explicit(&pool->round, memory_order_acquire);
}

static void sleep_until_series(q_pool *pool) {
    pthread_mutex_lock(&pool->lock);
    while (!in_series(pool) && !stopped(pool))
        pthread_cond_wait(&pool->wake, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

/* Until another round begins, or the pool stops. */
static void await_round(q_pool *pool, unsigned seen) {
    q_wait wait = {0};
    while (current_round(pool) == seen && !stopped(pool)) {
        if (!spin(&wait))
            continue;
        if (in_series(pool))
            sched_yield();
        else
            sleep_until_series(pool);
        wait = (q_wait){0};
    }
}

static void *helper_main(void *argument) {
    q_helper helper = *(q_helper *)argument;
    free(argument);
    q_pool *pool = helper.pool;
    unsigned seen = 0;
    while (!stopped(pool)) {
        await_round(pool, seen);
        if (stopped(pool))
            break;
        seen = current_round(pool);
        if (go_in(pool)) {
            work(pool, helper.thread);
            atomic_fetch_sub_explicit(&pool->gate, 1, memory_order_release);
        }
    }
    return NULL;
}

/* Set `flag` with the lock held, and wake all helpers. */
static void announce(q_pool *pool, atomic_int *flag) {
    pthread_mutex_lock(&pool->lock);
    atomic_store_explicit(flag, 1, memory_order_relaxed);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

q_pool *q_pool_new(uint32_t threads, void (*enter)(void), void (*leave)(void)) {
    q_pool *pool = aligned_alloc(64, (sizeof(q_pool) + 63) / 64 * 64);
    if (!pool)
        return NULL;
    *pool = (q_pool){.threads = threads, .enter = enter, .leave = leave};
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->helpers = calloc(threads, sizeof *pool->helpers);
    pool->shares = aligned_alloc(64, threads * sizeof *pool->shares);
    int failed = !pool->helpers || !pool->shares;
    for (uint32_t i = 0; i < threads && !failed; i++)
        pool->shares[i] = (q_share){0};
    for (uint32_t i = 1; i < threads && !failed; i++) {
        q_helper *helper = malloc(sizeof *helper);
        if (helper)
            *helper = (q_helper){pool, i};
        failed = !helper || pthread_create(&pool->helpers[i], NULL, helper_main, helper);
        if (failed)
            free(helper);
        else
            pool->started++;
    }
    if (failed) {
        q_pool_free(pool);
        return NULL;
    }
    return pool;
}

void q_pool_free(q_pool *pool) {
    if (!pool)
        return;
    announce(pool, &pool->stop);
    for (uint32_t i = 1; i <= pool->started; i++)
        pthread_join(pool->helpers[i], NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool->helpers);
    free(pool->shares);
    free(pool);
}

uint32_t q_pool_threads(const q_pool *pool) {
    return pool->threads;
}

void q_pool_begin(q_pool *pool) {
    if (pool->started)
        announce(pool, &pool->series);
}

void q_pool_end(q_pool *pool) {
    atomic_store_explicit(&pool->series, 0, memory_order_relaxed);
}

void q_pool_run(q_pool *pool, q_item *item, void *context, uint32_t items) {
    pool->item = item;
    pool->context = context;
    for (uint32_t i = 0; i < pool->threads; i++) {
        atomic_store_explicit(&pool->shares[i].next, items * i / pool->threads,
                              memory_order_relaxed);
        pool->shares[i].end = items * (i + 1) / pool->threads;
    }
    if (pool->started == 0 || items < 2) {
        work(pool, 0);
        return;
    }
    atomic_store_explicit(&pool->gate, OPEN, memory_order_release);
    atomic_fetch_add_explicit(&pool->round, 1, memory_order_release);
    work(pool, 0);
    atomic_fetch_and_explicit(&pool->gate, ~(unsigned)OPEN, memory_order_relaxed);
    /* Those still inside finish an item of microseconds each, unless the system took their core. */
    q_wait wait = {0};
    while (atomic_load_explicit(&pool->gate, memory_order_acquire))
        if (spin(&wait))
            sched_yield();
}
