/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a run came to: JSON for programs, a few lines for people.
 * Refuses: to judge it.
 */
#ifndef BUILDGEN_REPORT_H
#define BUILDGEN_REPORT_H

#include "base/buf.h"
#include "generator.h"

/* The counts as members of a JSON object, one a line, without its braces. Every failed build's
 * cause is counted; times in ms. */
void report_counts(struct buf *buf, const struct generator *generator);
void report_json(struct buf *buf, const struct generator *generator, int64_t now_ms);
void report_text(struct buf *buf, const struct generator *generator, int64_t now_ms);
/* One line on how it goes. */
void report_progress(struct buf *buf, const struct generator *generator, int64_t now_ms);

#endif
