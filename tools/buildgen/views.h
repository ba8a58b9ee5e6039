/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the generator shows over HTTP: /pods as a kubelet answers it, and /status.
 * Refuses: to change anything.
 */
#ifndef BUILDGEN_VIEWS_H
#define BUILDGEN_VIEWS_H

#include "base/buf.h"
#include "generator.h"

/* A v1 PodList of the running pods and the last few that ended, with the fields of a pod that
 * pidwarden or a person looks at. Fields and their order as Kubernetes 1.36 writes them. */
void views_pods(struct buf *buf, const struct generator *generator);
void views_status(struct buf *buf, const struct generator *generator, int64_t now_ms);

#endif
