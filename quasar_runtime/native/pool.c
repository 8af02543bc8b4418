/* A persistent pool. During a series of operations helpers watch for the next one, giving their core
   away now and then to whoever else wants it; after the series they do so for a short while more and
   then sleep on a condition variable.

   Each thread has a share of the items, takes those first, then what is left of the others' shares.
   Operations number their items by tokens, so that a thread meets again the tokens that its own
   cache holds, and a helper that comes late costs nothing but its help.

   gate holds OPEN while items may be left, plus the number of helpers inside. A helper enters only
   through an open gate; the caller closes it and waits until all have left. So a helper that was
   asleep, or not scheduled by the system, costs nothing: the caller does the work itself. */
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { OPEN = 1 << 16, SPINS = 20000 /* about 0.2 ms */ };

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

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
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
    unsigned gate = atomic_load(&pool->gate);
    while (gate & OPEN)
        if (atomic_compare_exchange_weak(&pool->gate, &gate, gate + 1))
            return 1;
    return 0;
}

static void sleep_until_series(q_pool *pool) {
    pthread_mutex_lock(&pool->lock);
    while (!atomic_load(&pool->series) && !atomic_load(&pool->stop))
        pthread_cond_wait(&pool->wake, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

/* Until another round begins, or the pool stops. */
static void await_round(q_pool *pool, unsigned seen) {
    for (unsigned spins = 1; atomic_load(&pool->round) == seen && !atomic_load(&pool->stop);
         spins++) {
        if (spins % SPINS)
            relax();
        else if (atomic_load(&pool->series))
            sched_yield();
        else
            sleep_until_series(pool);
    }
}

static void *helper_main(void *argument) {
    q_helper helper = *(q_helper *)argument;
    free(argument);
    q_pool *pool = helper.pool;
    unsigned seen = 0;
    while (!atomic_load(&pool->stop)) {
        await_round(pool, seen);
        if (atomic_load(&pool->stop))
            break;
        seen = atomic_load(&pool->round);
        if (go_in(pool)) {
            work(pool, helper.thread);
            atomic_fetch_sub(&pool->gate, 1);
        }
    }
    return NULL;
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
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->stop, 1);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
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
    if (pool->started == 0)
        return;
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->series, 1);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

void q_pool_end(q_pool *pool) {
    atomic_store(&pool->series, 0);
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
    atomic_store(&pool->gate, OPEN);
    atomic_fetch_add(&pool->round, 1);
    work(pool, 0);
    atomic_fetch_and(&pool->gate, ~(unsigned)OPEN);
    /* Those still inside finish an item of microseconds each, unless the system took their core. */
    for (unsigned spins = 0; atomic_load(&pool->gate); spins++) {
        if (spins < SPINS)
            relax();
        else
            sched_yield();
    }
}
