// SPDX-License-Identifier: Apache-2.0
#include "names.h"

#include <stdio.h>
#include <sys/random.h>

#include "rng.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const service_types[] = { "api", "worker", "scheduler", "processor", "backend" };
static const char *const components[] = {
	"authentication", "messaging", "analytics", "orchestrator",   "billing", "inventory",
	"notification",	  "search",    "gateway",   "reporting",      "profile", "payments",
	"catalog",	  "shipping",  "audit",	    "recommendation",
};

void names_job(uint64_t seed, uint64_t index, char ret_name[NAMES_JOB_SIZE])
{
	struct rng rng = { .state = seed };
	const char *type = service_types[rng_range(&rng, 0, COUNT(service_types) - 1)];
	const char *component = components[rng_range(&rng, 0, COUNT(components) - 1)];
	unsigned int major = (unsigned int)rng_range(&rng, 1, 4);
	unsigned int minor = (unsigned int)rng_range(&rng, 0, 19);

	snprintf(ret_name, NAMES_JOB_SIZE, "build-%s-%s-%u-%u-%llu-s-1", type, component, major,
		 minor, (unsigned long long)index);
}

/* getrandom(2) of up to 256 bytes is never cut short once the kernel's pool is ready. */
static void random_bytes(unsigned char *data, size_t len)
{
	while (getrandom(data, len, 0) != (ssize_t)len)
		;
}

void names_uuid(char ret_uuid[NAMES_UUID_SIZE])
{
	unsigned char b[16];

	random_bytes(b, sizeof(b));
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	snprintf(ret_uuid, NAMES_UUID_SIZE,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
		 b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
		 b[15]);
}

void names_container_id(char ret_id[NAMES_CONTAINER_ID_SIZE])
{
	unsigned char b[32];

	random_bytes(b, sizeof(b));
	for (size_t i = 0; i < sizeof(b); i++)
		snprintf(ret_id + 2 * i, 3, "%02x", b[i]);
}

void names_pod_suffix(char ret_suffix[6])
{
	static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
	unsigned char b[5];

	random_bytes(b, sizeof(b));
	for (size_t i = 0; i < sizeof(b); i++)
		ret_suffix[i] = alphabet[b[i] % (sizeof(alphabet) - 1)];
	ret_suffix[5] = '\0';
}
