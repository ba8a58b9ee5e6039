/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names builds go by: jobs and pods as the incident's CI named them, uids and container ids
 * as Kubernetes and containerd make them.
 * Refuses: to keep a register; uniqueness comes from the index or the kernel's random numbers.
 */
#ifndef BUILDGEN_NAMES_H
#define BUILDGEN_NAMES_H

#include <stddef.h>
#include <stdint.h>

#define NAMES_UUID_SIZE 37
#define NAMES_CONTAINER_ID_SIZE 65
#define NAMES_JOB_SIZE 64

/* "build-api-authentication-3-12-5-s-1": drawn from @seed, the last version part is @index, so no
 * two jobs of a run share a name. */
void names_job(uint64_t seed, uint64_t index, char ret_name[NAMES_JOB_SIZE]);
/* Random, version 4. */
void names_uuid(char ret_uuid[NAMES_UUID_SIZE]);
/* 64 hexadecimal digits. */
void names_container_id(char ret_id[NAMES_CONTAINER_ID_SIZE]);
/* Five characters of the alphabet that the API server's generateName uses. */
void names_pod_suffix(char ret_suffix[6]);

#endif
