/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status page and its Content-Security-Policy, made at build time from page.html by embed.cmake.
 */
#ifndef PIDWARDEN_SHOW_PAGE_H
#define PIDWARDEN_SHOW_PAGE_H

#include <stddef.h>

extern const unsigned char page_html[];
extern const size_t page_html_len;
/* Allows exactly the page's own style and script, by their SHA-256, and requests to the agent. */
extern const char page_csp[];

#endif
