/* The threads are detached and share one thing with the loop: the list of finished look-ups, under a mutex. Whoever is the last
 * to need struct names frees it, so that the loop can go away at any time. The hosts belong to the loop alone. */
#include "bio/names.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

#define THREADS_MAX 4
/* Names come from the configuration, but also from other servers: what is remembered has a bound. */
#define HOSTS_MAX 256

/* A name that somebody has asked for. */
struct host {
    struct list link;    /* names.hosts: the one asked for last at the end */
    struct list queued;  /* names.queue, while all threads are busy */
    struct list waiters; /* struct names_waiter */
    bool running;
    struct names_address known[NAMES_ADDRESSES_MAX];
    int known_count;
    char name[];
};

/* Belongs to a thread, then to the list of finished ones. */
struct lookup {
    struct list link;
    struct names *names;
    struct host *host; /* not looked at by the thread */
    struct names_address found[NAMES_ADDRESSES_MAX];
    int count;
    const char *error;
    char name[];
};

struct names {
    names_function *function;
    struct list hosts, queue;
    int host_count, running;
    int event_fd;

    pthread_mutex_t lock; /* of what follows */
    struct list done;     /* struct lookup */
    int users;            /* threads, and the loop */
    bool closed;          /* the loop has left */
};

/* ------------------------------------------------------------------ looking up */

static int system_lookup(const char *host, struct names_address *out, const char **error) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
    int err = getaddrinfo(host, NULL, &hints, &list), count = 0;
    if (err != 0) {
        *error = gai_strerror(err);
        return 0;
    }
    for (const struct addrinfo *ai = list; ai != NULL && count < NAMES_ADDRESSES_MAX; ai = ai->ai_next) {
        if (ai->ai_family != AF_INET && ai->ai_family != AF_INET6)
            continue;
        out[count].len = ai->ai_addrlen;
        memcpy(&out[count++].sa, ai->ai_addr, ai->ai_addrlen);
    }
    freeaddrinfo(list);
    if (count == 0)
        *error = "it has no address";
    return count;
}

bool names_numeric(const char *text, struct names_address *out) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *list;
    if (getaddrinfo(text, NULL, &hints, &list) != 0)
        return false;
    memset(out, 0, sizeof *out);
    out->len = list->ai_addrlen;
    memcpy(&out->sa, list->ai_addr, list->ai_addrlen);
    freeaddrinfo(list);
    return true;
}

/* With the lock held; releases it. */
static void leave(struct names *n) {
    bool last = --n->users == 0;
    pthread_mutex_unlock(&n->lock);
    if (!last)
        return;
    close(n->event_fd);
    pthread_mutex_destroy(&n->lock);
    mem_free(n);
}

/* With the lock held. */
static void push_done(struct names *n, struct lookup *l) {
    bool wake = list_empty(&n->done);
    list_push(&n->done, &l->link);
    if (wake) {
        uint64_t one = 1;
        ssize_t written = write(n->event_fd, &one, sizeof one);
        zassert(written == sizeof one);
    }
}

static void *thread_main(void *arg) {
    struct lookup *l = arg;
    struct names *n = l->names;
    l->count = n->function(l->name, l->found, &l->error);
    pthread_mutex_lock(&n->lock);
    if (n->closed)
        mem_free(l);
    else
        push_done(n, l);
    leave(n);
    return NULL;
}

static int start_thread(struct lookup *l) {
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, old;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    /* Signals are for the loop thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int err = pthread_create(&thread, &attr, thread_main, l);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return err;
}

static void run_lookup(struct names *n, struct host *h) {
    size_t size = strlen(h->name) + 1;
    struct lookup *l = mem_calloc(1, sizeof *l + size);
    l->names = n;
    l->host = h;
    memcpy(l->name, h->name, size);
    h->running = true;
    n->running++;
    pthread_mutex_lock(&n->lock);
    n->users++;
    pthread_mutex_unlock(&n->lock);
    if (start_thread(l) == 0)
        return;
    l->error = "no thread can be started for it";
    pthread_mutex_lock(&n->lock);
    push_done(n, l);
    leave(n);
}

/* ------------------------------------------------------------------ the loop's side */

static void free_host(struct names *n, struct host *h) {
    list_remove(&h->link);
    list_remove(&h->queued);
    n->host_count--;
    mem_free(h);
}

static struct host *find_host(struct names *n, const char *name) {
    struct host *h;
    LIST_FOREACH(h, &n->hosts, struct host, link) {
        if (strcmp(h->name, name) == 0)
            return h;
    }
    return NULL;
}

static void forget_oldest(struct names *n) {
    struct host *h;
    LIST_FOREACH(h, &n->hosts, struct host, link) {
        if (!h->running && list_empty(&h->waiters)) {
            free_host(n, h);
            return;
        }
    }
}

static struct host *new_host(struct names *n, const char *name) {
    size_t size = strlen(name) + 1;
    struct host *h = mem_calloc(1, sizeof *h + size);
    if (n->host_count >= HOSTS_MAX)
        forget_oldest(n);
    memcpy(h->name, name, size);
    list_init(&h->queued);
    list_init(&h->waiters);
    list_push(&n->hosts, &h->link);
    n->host_count++;
    return h;
}

struct names *names_new(names_function *lookup) {
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd == -1)
        return NULL;
    struct names *n = mem_calloc(1, sizeof *n);
    n->function = lookup != NULL ? lookup : system_lookup;
    n->event_fd = fd;
    n->users = 1;
    list_init(&n->hosts);
    list_init(&n->queue);
    list_init(&n->done);
    pthread_mutex_init(&n->lock, NULL);
    return n;
}

void names_free(struct names *n) {
    struct host *h;
    struct lookup *l;
    LIST_FOREACH(h, &n->hosts, struct host, link) {
        zassert(list_empty(&h->waiters));
        free_host(n, h);
    }
    pthread_mutex_lock(&n->lock);
    n->closed = true;
    LIST_FOREACH(l, &n->done, struct lookup, link)
        mem_free(l);
    list_init(&n->done);
    leave(n);
}

void names_ask(struct names *n, const char *host, struct names_waiter *w) {
    struct host *h = find_host(n, host);
    if (h == NULL)
        h = new_host(n, host);
    list_remove(&h->link);
    list_push(&n->hosts, &h->link);
    list_push(&h->waiters, &w->link);
    if (h->running || !list_unlinked(&h->queued))
        return;
    if (n->running < THREADS_MAX)
        run_lookup(n, h);
    else
        list_push(&n->queue, &h->queued);
}

void names_forget(struct names_waiter *w) { list_remove(&w->link); }

const struct names_address *names_known(struct names *n, const char *host, int *count) {
    struct host *h = find_host(n, host);
    if (h == NULL || h->known_count == 0)
        return NULL;
    *count = h->known_count;
    return h->known;
}

int names_fd(const struct names *n) { return n->event_fd; }

static void start_queued(struct names *n) {
    while (n->running < THREADS_MAX && !list_empty(&n->queue)) {
        struct host *h = LIST_FIRST(&n->queue, struct host, queued);
        list_remove(&h->queued);
        if (!list_empty(&h->waiters))
            run_lookup(n, h);
    }
}

/* Those who ask anew while they are answered get a look-up of their own. */
static void answer(struct names *n, struct lookup *l) {
    struct host *h = l->host;
    struct list waiters;
    h->running = false;
    n->running--;
    if (l->count > 0) {
        memcpy(h->known, l->found, sizeof h->known);
        h->known_count = l->count;
    } else {
        /* h may be forgotten while waiters are called. */
        memcpy(l->found, h->known, sizeof l->found);
        l->count = h->known_count;
        zassert(l->error != NULL);
    }
    list_init(&waiters);
    while (!list_empty(&h->waiters)) {
        struct list *item = h->waiters.next;
        list_remove(item);
        list_push(&waiters, item);
    }
    while (!list_empty(&waiters)) {
        struct names_waiter *w = LIST_FIRST(&waiters, struct names_waiter, link);
        list_remove(&w->link);
        w->done(w, l->found, l->count, l->error);
    }
}

void names_collect(struct names *n) {
    uint64_t count;
    struct list done;
    ssize_t size = read(n->event_fd, &count, sizeof count);
    zassert(size == sizeof count || errno == EAGAIN);
    list_init(&done);
    pthread_mutex_lock(&n->lock);
    while (!list_empty(&n->done)) {
        struct list *item = n->done.next;
        list_remove(item);
        list_push(&done, item);
    }
    pthread_mutex_unlock(&n->lock);
    while (!list_empty(&done)) {
        struct lookup *l = LIST_FIRST(&done, struct lookup, link);
        list_remove(&l->link);
        answer(n, l);
        mem_free(l);
    }
    start_queued(n);
}
