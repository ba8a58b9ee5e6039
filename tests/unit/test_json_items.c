// SPDX-License-Identifier: Apache-2.0
#include "core/json_items.h"

#include <errno.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/buf.h"
#include "kubelet_fixture.h"

/* Items as they come, each followed by a '|'. */
static int collect(const char *json, size_t len, void *data)
{
	assert_int_equal(json[len], '\0');
	buf_add(data, json, len);
	buf_char(data, '|');
	return 0;
}

static int feed_in(struct json_items *parser, const char *text, size_t len, size_t chunk)
{
	for (size_t at = 0; at < len; at += chunk) {
		size_t left = len - at;
		/* A copy of just these bytes, so that ASan sees a read beyond them. */
		size_t n = left < chunk ? left : chunk;
		char *part = malloc(n);
		int err;

		assert_non_null(part);
		memcpy(part, text + at, n);
		err = json_items_feed(parser, part, n);
		free(part);
		if (err < 0)
			return err;
	}
	return json_items_finish(parser);
}

static const struct {
	const char *text;
	int err;
	const char *items;
	size_t seen, skipped;
	const char *error;
	size_t offset; /* of the error */
} documents[] = {
	{ "{\"items\":[]}", 0, "", 0, 0, NULL, 0 },
	{ "{\"items\":null}", 0, "", 0, 0, NULL, 0 },
	{ " {\"a\":1,\"items\" : [ {\"x\":[1,2]} , {} ]\n}\n", 0, "{\"x\":[1,2]}|{}|", 2, 0, NULL,
	  0 },
	{ "{\"items\":[1,-2.5e3,\"s\",true,null,[],[[]]]}", 0, "1|-2.5e3|\"s\"|true|null|[]|[[]]|",
	  7, 0, NULL, 0 },
	{ "{\"items\":[{\"a\":\"]}\\\"{[\"}]}", 0, "{\"a\":\"]}\\\"{[\"}|", 1, 0, NULL, 0 },
	{ "{\"items\":[{\"a\":\"\\\\\"},2]}", 0, "{\"a\":\"\\\\\"}|2|", 2, 0, NULL, 0 },
	/* Only the list's own items are the items. */
	{ "{\"x\":{\"items\":[1]},\"items\":[{\"items\":[2]}],\"y\":[\"items\",[3]]}", 0,
	  "{\"items\":[2]}|", 1, 0, NULL, 0 },
	/* A key is what it is written as, whole: neither with an escape in it nor cut. */
	{ "{\"it\\nems\":[1],\"items\":[2]}", 0, "2|", 1, 0, NULL, 0 },
	{ "                                                               {\"itemsxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\":[1],\"items\":[2]}",
	  0, "2|", 1, 0, NULL, 0 },
	{ "{\"a\":\"items\",\"items\":[7]}", 0, "7|", 1, 0, NULL, 0 },
	{ "", -EBADMSG, "", 0, 0, "truncated", 0 },
	{ "{", -EBADMSG, "", 0, 0, "truncated", 1 },
	{ "{\"items\":[{\"a\":1},{\"b", -EBADMSG, "{\"a\":1}|", 2, 0, "truncated", 21 },
	{ "{\"items\":[1]", -EBADMSG, "1|", 1, 0, "truncated", 12 },
	{ "{\"items\":[12", -EBADMSG, "", 1, 0, "truncated", 12 },
	{ "{}", -EBADMSG, "", 0, 0, "no items", 2 },
	{ "{\"Items\":[1]}", -EBADMSG, "", 0, 0, "no items", 13 },
	{ "[1]", -EBADMSG, "", 0, 0, "not a JSON object", 0 },
	{ "Unauthorized", -EBADMSG, "", 0, 0, "not a JSON object", 0 },
	{ "  null", -EBADMSG, "", 0, 0, "not a JSON object", 2 },
	{ "\"items\"", -EBADMSG, "", 0, 0, "not a JSON object", 0 },
	{ "{\"items\":{\"a\":1}}", -EBADMSG, "", 0, 0, "items is not an array", 9 },
	{ "{\"items\":\"null\"}", -EBADMSG, "", 0, 0, "items is not an array", 14 },
	{ "{\"items\":false}", -EBADMSG, "", 0, 0, "items is not an array", 14 },
	{ "{\"items\":[1],\"items\":[2]}", -EBADMSG, "1|", 1, 0, "items twice", 19 },
	{ "{\"items\":[]}x", -EBADMSG, "", 0, 0, "garbage after the end", 12 },
	{ "{\"items\":[]}{}", -EBADMSG, "", 0, 0, "garbage after the end", 12 },
	{ "{\"items\":[1 2]}", -EBADMSG, "1|", 1, 0, "no comma between values", 12 },
	{ "{\"items\":[1,]}", -EBADMSG, "1|", 1, 0, "a value was expected", 12 },
	{ "{\"items\":[,1]}", -EBADMSG, "", 0, 0, "a value was expected", 10 },
	{ "{\"items\":[{\"a\" 1}]}", -EBADMSG, "", 1, 0, "a key without a colon", 15 },
	{ "{\"items\":[{1:1}]}", -EBADMSG, "", 1, 0, "a key that is no string", 11 },
	{ "{\"items\":[{\"a\":1,}]}", -EBADMSG, "", 1, 0, "a key that is no string", 17 },
	{ "{\"items\":[[1}]}", -EBADMSG, "", 1, 0, "a bracket closed by the wrong one", 12 },
	{ "{\"items\":[1}", -EBADMSG, "1|", 1, 0, "a bracket closed by the wrong one", 11 },
};

static void test_documents(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++) {
		size_t len = strlen(documents[i].text);

		for (size_t chunk = 1; chunk <= len + 1; chunk++) {
			struct json_items *parser;
			struct buf items;
			int err;

			buf_init(&items, 0);
			buf_str(&items, "");
			assert_int_equal(json_items_new(NULL, collect, &items, &parser), 0);
			err = feed_in(parser, documents[i].text, len, chunk);
			if (err != documents[i].err)
				fail_msg("%s in chunks of %zu: %d", documents[i].text, chunk, err);
			assert_string_equal(items.data, documents[i].items);
			assert_int_equal(json_items_stats(parser)->seen, documents[i].seen);
			assert_int_equal(json_items_stats(parser)->skipped, documents[i].skipped);
			if (documents[i].error) {
				assert_string_equal(json_items_error(parser), documents[i].error);
				assert_int_equal(json_items_stats(parser)->bytes,
						 documents[i].offset);
				/* It stays. */
				assert_int_equal(json_items_feed(parser, "{", 1), err);
			} else {
				assert_null(json_items_error(parser));
				assert_true(json_items_stats(parser)->complete);
				assert_int_equal(json_items_stats(parser)->bytes, len);
			}
			json_items_free(parser);
			buf_done(&items);
		}
	}
}

static void test_list_fields(void **state)
{
	static const struct {
		const char *text;
		const char *kind;
		const char *version;
	} cases[] = {
		{ "{\"kind\":\"PodList\",\"metadata\":{\"resourceVersion\":\"4711\"},\"items\":[]}",
		  "PodList", "4711" },
		{ "{\"items\":[{\"kind\":\"Pod\",\"metadata\":{\"resourceVersion\":\"1\"}}],\"metadata\":{}}",
		  "", "" },
		{ "{\"kind\":7,\"metadata\":[\"resourceVersion\"],\"items\":[]}", "", "" },
		{ "{\"metadata\":{\"a\":{\"resourceVersion\":\"1\"}},\"x\":{\"resourceVersion\":\"2\"},\"items\":[]}",
		  "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct json_items *parser;
		struct buf items;

		buf_init(&items, 0);
		assert_int_equal(json_items_new(NULL, collect, &items, &parser), 0);
		assert_int_equal(feed_in(parser, cases[i].text, strlen(cases[i].text), 3), 0);
		assert_string_equal(json_items_stats(parser)->kind, cases[i].kind);
		assert_string_equal(json_items_stats(parser)->resource_version, cases[i].version);
		json_items_free(parser);
		buf_done(&items);
	}
}

static void test_caps(void **state)
{
	static const struct {
		struct json_items_limits limits;
		const char *text;
		int err;
		const char *items;
		size_t seen, skipped;
	} cases[] = {
		/* bytes: "[1,2]" has 5 */
		{ { .item_bytes = 4 }, "{\"items\":[7,[1,2],8]}", 0, "7|8|", 3, 1 },
		{ { .item_bytes = 5 }, "{\"items\":[7,[1,2],8]}", 0, "7|[1,2]|8|", 3, 0 },
		/* values: {"a":[1,2]} has 4, keys do not count */
		{ { .item_values = 3 }, "{\"items\":[{\"a\":[1,2]},9]}", 0, "9|", 2, 1 },
		{ { .item_values = 4 },
		  "{\"items\":[{\"a\":[1,2]},9]}",
		  0,
		  "{\"a\":[1,2]}|9|",
		  2,
		  0 },
		/* depth: the list's own two count */
		{ { .depth = 4 }, "{\"items\":[[[1]],[[[1,\"]\"],{}]],9]}", 0, "[[1]]|9|", 3, 1 },
		{ { .depth = 5 }, "{\"items\":[[[1]],[[[1]]],9]}", 0, "[[1]]|[[[1]]]|9|", 3, 0 },
		{ { .depth = 4 }, "{\"x\":[[[[[[\"[\"]]]]]],\"items\":[9]}", 0, "9|", 1, 0 },
		{ { .items = 2 }, "{\"items\":[1,2,3,{\"a\":4}]}", 0, "1|2|", 4, 2 },
		{ { .body_bytes = 13 }, "{\"items\":[1]}", 0, "1|", 1, 0 },
		{ { .body_bytes = 12 }, "{\"items\":[1]}", -EFBIG, "1|", 1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t chunk = 1; chunk < 40; chunk++) {
			struct json_items *parser;
			struct buf items;

			buf_init(&items, 0);
			assert_int_equal(json_items_new(&cases[i].limits, collect, &items, &parser),
					 0);
			assert_int_equal(
				feed_in(parser, cases[i].text, strlen(cases[i].text), chunk),
				cases[i].err);
			assert_string_equal(items.data, cases[i].items);
			assert_int_equal(json_items_stats(parser)->seen, cases[i].seen);
			assert_int_equal(json_items_stats(parser)->skipped, cases[i].skipped);
			json_items_free(parser);
			buf_done(&items);
		}
	}
}

static int refuse(const char *json, size_t len, void *data)
{
	(void)json;
	(void)len;
	(void)data;
	return -ECANCELED;
}

static void test_item_function_stops(void **state)
{
	struct json_items *parser;
	struct buf items;

	(void)state;
	assert_int_equal(json_items_new(NULL, refuse, NULL, &parser), 0);
	assert_int_equal(json_items_feed(parser, "{\"items\":[1,2]}", 15), -ECANCELED);
	assert_int_equal(json_items_finish(parser), -ECANCELED);
	json_items_free(parser);

	/* And a parser is as new after a reset. */
	buf_init(&items, 0);
	assert_int_equal(json_items_new(NULL, collect, &items, &parser), 0);
	assert_int_equal(json_items_feed(parser, "{\"items\":[{\"a", 13), 0);
	json_items_reset(parser);
	assert_int_equal(json_items_feed(parser, "{\"items\":[5]}", 13), 0);
	assert_int_equal(json_items_finish(parser), 0);
	assert_string_equal(items.data, "5|");
	json_items_free(parser);
	buf_done(&items);
}

/* Brackets 200,000 deep: as the document, closed and unclosed, and inside an item. */
static void test_nested(void **state)
{
	enum {
		DEEP = 200000
	};
	struct buf text, items;
	struct json_items *parser;

	(void)state;
	buf_init(&text, 0);
	buf_init(&items, 0);
	buf_str(&items, "");
	assert_int_equal(json_items_new(NULL, collect, &items, &parser), 0);

	for (size_t i = 0; i < DEEP; i++)
		buf_str(&text, "[");
	assert_int_equal(feed_in(parser, text.data, text.len, 1000), -EBADMSG);
	assert_string_equal(json_items_error(parser), "not a JSON object");

	buf_reset(&text);
	buf_str(&text, "{\"items\":[1,");
	for (size_t i = 0; i < DEEP; i++)
		buf_str(&text, i % 2 > 0 ? "{\"a\":" : "[");
	json_items_reset(parser);
	assert_int_equal(feed_in(parser, text.data, text.len, 1000), -EBADMSG);
	assert_string_equal(json_items_error(parser), "truncated");

	for (size_t i = DEEP; i > 0; i--)
		buf_str(&text, i % 2 > 0 ? "]" : "}");
	buf_str(&text, ",2]}");
	json_items_reset(parser);
	buf_reset(&items);
	assert_int_equal(feed_in(parser, text.data, text.len, 1000), 0);
	assert_string_equal(items.data, "1|2|");
	assert_int_equal(json_items_stats(parser)->skipped, 1);
	json_items_free(parser);
	buf_done(&text);
	buf_done(&items);
}

struct recorded {
	const cJSON *next;
	size_t n;
};

static int compare_recorded(const char *json, size_t len, void *data)
{
	struct recorded *recorded = data;
	cJSON *item = cJSON_ParseWithLength(json, len);

	assert_non_null(item);
	assert_non_null(recorded->next);
	assert_true(cJSON_Compare(item, recorded->next, true));
	recorded->next = recorded->next->next;
	recorded->n++;
	cJSON_Delete(item);
	return 0;
}

/* cJSON on the whole body is the independent witness of where items begin and end. */
static void test_recorded(void **state)
{
	static const char *const names[] = { "kubelet-1.20/kubelet-jobs-pods.json",
					     "kubelet-1.20/kubelet-after-pods.json",
					     "kubelet-1.20/kubelet-readonly-port-pods.json",
					     "kubelet-1.36/kubelet-jobs-pods.json",
					     "kubelet-1.36/api-pods-by-node.json" };
	static const size_t chunks[] = { 1, 7, 4096, 1 << 20 };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t len;
		char *text = fixture_load(names[i], &len);
		cJSON *whole = cJSON_ParseWithLength(text, len);
		const cJSON *items = cJSON_GetObjectItem(whole, "items");

		for (size_t j = 0; j < sizeof(chunks) / sizeof(chunks[0]); j++) {
			struct recorded recorded = { .next = items->child };
			struct json_items *parser;

			assert_int_equal(json_items_new(NULL, compare_recorded, &recorded, &parser),
					 0);
			assert_int_equal(feed_in(parser, text, len, chunks[j]), 0);
			assert_int_equal(recorded.n, cJSON_GetArraySize(items));
			assert_int_equal(json_items_stats(parser)->seen, recorded.n);
			assert_string_equal(json_items_stats(parser)->kind, "PodList");
			json_items_free(parser);
		}
		cJSON_Delete(whole);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_documents), cmocka_unit_test(test_list_fields),
		cmocka_unit_test(test_caps),	  cmocka_unit_test(test_item_function_stops),
		cmocka_unit_test(test_nested),	  cmocka_unit_test(test_recorded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
