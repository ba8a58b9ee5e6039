/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `buildgen canary`: forks like a CNI plugin (fork, exec /bin/true, wait) at a fixed rate beside
 * the builds and counts what fails: what the node's own daemons would have met.
 * Refuses: to know of builds.
 */
#ifndef BUILDGEN_CANARY_H
#define BUILDGEN_CANARY_H

/* Exit status: 0 stopped by SIGTERM or SIGINT, 1 it could not run, 2 bad arguments. */
int canary_main(int argc, char **argv);

#endif
