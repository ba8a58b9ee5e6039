/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why BPF does not work here, in words for an operator.
 * Refuses: deciding anything by kernel version; the release is quoted, features are tried.
 */
#ifndef PIDWARDEN_READ_BPF_WHY_H
#define PIDWARDEN_READ_BPF_WHY_H

#include "read/bpf_probe.h"

/* From here to bpf_why_end() libbpf's warnings are kept, not printed. One user at a time. */
void bpf_why_begin(void);
void bpf_why_end(void);

/*
 * @step: what failed ("loading the programs"), @err its negative errno. Before bpf_why_end().
 * Returns @err.
 */
int bpf_why(struct bpf_probe_error *ret_why, const char *step, int err);
/* The same with the cause known. */
int bpf_why_cause(struct bpf_probe_error *ret_why, int err, const char *cause);

#endif
