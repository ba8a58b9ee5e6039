/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What options_value cannot see: settings that contradict each other, and the files and folders
 * that they name.
 * Refuses: to change a setting.
 */
#ifndef PIDWARDEN_OPTIONS_CHECK_H
#define PIDWARDEN_OPTIONS_CHECK_H

#include "base/buf.h"
#include "options.h"

/* 0, or -EINVAL or -ENOMEM with one sentence appended to @message that names the option. */
int options_check(const struct options *options, struct buf *message);

#endif
