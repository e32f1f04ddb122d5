/* Doubly linked list whose links live inside the elements. A head is a node linked to itself when empty. */
#ifndef ZABRA_BASE_LIST_H
#define ZABRA_BASE_LIST_H

#include "base/common.h"

struct list {
    struct list *prev, *next;
};

static inline void list_init(struct list *head) { head->prev = head->next = head; }
static inline bool list_empty(const struct list *head) { return head->next == head; }

static inline void list_insert_before(struct list *position, struct list *node) {
    node->prev = position->prev;
    node->next = position;
    position->prev->next = node;
    position->prev = node;
}

/* Appends at the tail of head. */
static inline void list_push(struct list *head, struct list *node) { list_insert_before(head, node); }

/* Takes node out and leaves it linked to itself, so that a second call does no harm. */
static inline void list_remove(struct list *node) {
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* Moves all of from to the end of head. */
static inline void list_append(struct list *head, struct list *from) {
    if (list_empty(from))
        return;
    from->next->prev = head->prev;
    head->prev->next = from->next;
    from->prev->next = head;
    head->prev = from->prev;
    list_init(from);
}

/* A node that was list_init-ed and is in no list. */
static inline bool list_unlinked(const struct list *node) { return node->next == node; }

#define LIST_FIRST(head, type, member) CONTAINER_OF((head)->next, type, member)
/* Loops over the elements; the current one may be removed inside the loop. */
#define LIST_FOREACH(var, head, type, member)                                                                          \
    for (struct list *var##_link = (head)->next, *var##_next = var##_link->next;                                       \
         var##_link != (head) && ((var) = CONTAINER_OF(var##_link, type, member), true);                               \
         var##_link = var##_next, var##_next = var##_link->next)

#endif
