/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recorded kubelet answers under tests/fixtures, whole in memory, and as a pod table.
 */
#ifndef PIDWARDEN_TESTS_KUBELET_FIXTURE_H
#define PIDWARDEN_TESTS_KUBELET_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/builders.h"
#include "core/json_items.h"
#include "core/pod_table.h"

/* NUL-terminated; the caller frees. */
static inline char *fixture_load(const char *name, size_t *ret_len)
{
	char path[512], *data = NULL;
	FILE *file;
	long len;

	snprintf(path, sizeof(path), FIXTURES "/%s", name);
	file = fopen(path, "re");
	if (!file)
		fail_msg("cannot open %s", path);
	fseek(file, 0, SEEK_END);
	len = ftell(file);
	rewind(file);
	data = malloc((size_t)len + 1);
	assert_non_null(data);
	assert_int_equal(fread(data, 1, (size_t)len, file), (size_t)len);
	data[len] = '\0';
	fclose(file);
	*ret_len = (size_t)len;
	return data;
}

static inline int fixture_add_pod(const char *json, size_t len, void *data)
{
	struct pod_container containers[POD_CONTAINERS_MAX];
	struct pod_identity pod;

	assert_int_equal(pod_parse(json, len, builders_default(), &pod, containers), 0);
	assert_int_equal(pod_table_add(data, &pod, containers), 0);
	return 0;
}

/* A recorded list through the cutter and the parser, unsealed. */
static inline struct pod_table *fixture_table(const char *name)
{
	struct json_items *parser;
	struct pod_table *table;
	size_t len;
	char *text = fixture_load(name, &len);

	assert_int_equal(pod_table_new(&table), 0);
	assert_int_equal(json_items_new(NULL, fixture_add_pod, table, &parser), 0);
	assert_int_equal(json_items_feed(parser, text, len), 0);
	assert_int_equal(json_items_finish(parser), 0);
	assert_int_equal(json_items_stats(parser)->skipped, 0);
	json_items_free(parser);
	free(text);
	return table;
}

#endif
