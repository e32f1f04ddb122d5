/* Rules for znode paths. See docs/protocol/operations.md section 3.2. */
#ifndef ZABRA_TREE_PATH_H
#define ZABRA_TREE_PATH_H

#include "base/strutil.h"

/* True if the path may name a znode: absolute, no empty, "." or ".." component, no forbidden character, well-formed
 * UTF-8. "/" alone is valid. */
bool path_valid(struct slice path);
/* The text before the last '/': "" for top-level paths. The path must contain a '/'. */
struct slice path_parent(struct slice path);
/* The text behind the last '/'. The path must contain a '/'. */
struct slice path_name(struct slice path);
/* True if path is prefix itself or lies below it, by component: /a/b is within /a, /ab is not. Everything is within "/". */
bool path_within(struct slice path, struct slice prefix);

#endif
