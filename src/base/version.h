/* What the server says about its version where tools expect ZooKeeper's. */
#ifndef ZABRA_BASE_VERSION_H
#define ZABRA_BASE_VERSION_H

#ifndef PACKAGE_VERSION
#include "config_autoconf.h"
#endif

/* The ZooKeeper release whose behaviour and metrics this is. */
#define ZABRA_COMPAT_VERSION "3.9.3"
#define ZABRA_RELEASE_DATE "2026-11-21 00:00 UTC"

/* "<version>-<revision>, built on <date>": the shape that monitoring tools take apart. */
#define ZABRA_FULL_VERSION ZABRA_COMPAT_VERSION "-zabra-" PACKAGE_VERSION ", built on " ZABRA_RELEASE_DATE

#endif
