/* The least that a server for these requests can do: the yardstick for what networking alone costs. */
#ifndef ZABRA_BENCHMARK_ECHO_SERVER_H
#define ZABRA_BENCHMARK_ECHO_SERVER_H

#include <stddef.h>
#include <stdint.h>

/* Serves on 127.0.0.1 until SIGINT or SIGTERM: answers ConnectRequest (any session is resumed), getData with data_len
 * bytes of the benchmark's pattern, setData as if data_len bytes were written, and anything else without a body. A setData
 * is an event for all connections that have asked for data with a watch since the last one. sync_dir: data_len bytes are
 * appended to a file there, and synced, before a setData takes effect; NULL = nothing is written.
 * Returns the exit status. */
int echo_server_run(uint16_t port, size_t data_len, const char *sync_dir);

#endif
