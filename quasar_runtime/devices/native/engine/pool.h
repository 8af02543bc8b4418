/* Threads that share the items of one operation at a time. */
#ifndef QUASAR_POOL_H
#define QUASAR_POOL_H

#include <stdint.h>

typedef struct q_pool q_pool;

/* One item of work, on thread `thread` of the pool (0 is the caller of q_pool_run). */
typedef void q_item(void *context, uint32_t item, uint32_t thread);

/* A pool of `threads` threads, threads - 1 of them started here; NULL when that fails. `enter` and
   `leave` (or NULL) are called by each thread around the items that it takes. A forked child has none
   of the helpers: it may neither use nor free its parent's pool. */
q_pool *q_pool_new(uint32_t threads, void (*enter)(void), void (*leave)(void));
void q_pool_free(q_pool *pool);
uint32_t q_pool_threads(const q_pool *pool);

/* Around a series of q_pool_run: helpers stay awake between them, for operations take microseconds
   and waking a thread as many. */
void q_pool_begin(q_pool *pool);
void q_pool_end(q_pool *pool);

/* Do items 0 .. items - 1 on any thread; returns when all are done. Thread t of T begins with items
   from t / T of them on. */
void q_pool_run(q_pool *pool, q_item *item, void *context, uint32_t items);

#endif
