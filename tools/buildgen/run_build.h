/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `buildgen run-build`: the build itself. It makes and ends real processes through its seven
 * phases, and fails, as real builds do, when one cannot be made.
 * Refuses: to know of cgroups, pods or a generator; any place it is started in will do.
 */
#ifndef BUILDGEN_RUN_BUILD_H
#define BUILDGEN_RUN_BUILD_H

/* Exit status: 0 built, 1 a fork failed or a process was killed, 2 bad arguments, 143 stopped. */
int run_build_main(int argc, char **argv);

#endif
