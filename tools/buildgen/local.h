/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `buildgen --local`: the generator's life on one machine, from its node to its report.
 * Refuses: to leave a cgroup or a process behind, however it ends.
 */
#ifndef BUILDGEN_LOCAL_H
#define BUILDGEN_LOCAL_H

#include "options.h"

/* Exit status: 0 the run came to its end or was stopped, 1 it could not, 2 bad input. */
int local_main(const struct options *options);

#endif
