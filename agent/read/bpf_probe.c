// SPDX-License-Identifier: Apache-2.0
#include "read/bpf_probe.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "read/bpf_probe_private.h"
#include "read/bpf_why.h"

static uint32_t stripes_for_cpus(void)
{
	int cpus = libbpf_num_possible_cpus();
	uint32_t stripes = 1;

	while (stripes < PW_STRIPES_MAX && cpus > 0 && stripes < (uint32_t)cpus)
		stripes *= 2;
	return stripes;
}

/* @size bytes of an array map, as the kernel maps them: whole pages. */
static int map_array(const struct bpf_map *map, size_t size, void **ret_memory, size_t *ret_bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t bytes = (size + page - 1) / page * page;
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	if (memory == MAP_FAILED)
		return -errno;
	*ret_memory = memory;
	*ret_bytes = bytes;
	return 0;
}

static int configure(struct bpf_probe *probe, const struct bpf_probe_options *options)
{
	struct pidwarden_bpf *skel = probe->skel;
	int err;

	skel->rodata->pw_slots = probe->slots;
	skel->rodata->pw_stripe_mask = probe->stripes - 1;
	err = bpf_map__set_max_entries(skel->maps.counters, probe->slots * probe->stripes);
	if (!err)
		err = bpf_map__set_max_entries(skel->maps.owners, probe->slots);
	if (!err && options && options->rare_ring_bytes)
		err = bpf_map__set_max_entries(skel->maps.rare, options->rare_ring_bytes);
	bpf_program__set_autoattach(skel->progs.pw_node, false);
	return err;
}

static int map_memory(struct bpf_probe *probe)
{
	void *memory;
	int err;

	err = map_array(probe->skel->maps.counters,
			(size_t)probe->slots * probe->stripes * sizeof(struct pw_counters), &memory,
			&probe->counters_bytes);
	if (err)
		return err;
	probe->counters = memory;
	err = map_array(probe->skel->maps.owners, probe->slots * sizeof(struct pw_owner), &memory,
			&probe->owners_bytes);
	if (err)
		return err;
	probe->owners = memory;
	return 0;
}

static int open_rings(struct bpf_probe *probe)
{
	probe->rare = ring_buffer__new(bpf_map__fd(probe->skel->maps.rare), bpf_probe_on_rare,
				       probe, NULL);
	if (!probe->rare)
		return -errno;
	probe->trips = ring_buffer__new(bpf_map__fd(probe->skel->maps.trips), bpf_probe_on_trip,
					probe, NULL);
	return probe->trips ? 0 : -errno;
}

static int set_up(struct bpf_probe *probe, const struct bpf_probe_options *options,
		  struct bpf_probe_error *ret_why)
{
	uint64_t allocated, pid_max;
	int err;

	probe->skel = pidwarden_bpf__open();
	if (!probe->skel)
		return bpf_why(ret_why, "opening the BPF object", -errno);
	err = configure(probe, options);
	if (err)
		return bpf_why(ret_why, "setting up the BPF maps", err);
	err = pidwarden_bpf__load(probe->skel);
	if (err)
		return bpf_why(ret_why, "loading the BPF programs", err);
	err = map_memory(probe);
	if (err)
		return bpf_why(ret_why, "mapping the BPF counters", err);
	err = open_rings(probe);
	if (err)
		return bpf_why(ret_why, "opening the BPF ring buffers", err);

	probe->programs[0] = probe->skel->progs.pw_newtask;
	probe->programs[1] = probe->skel->progs.pw_exec;
	probe->programs[2] = probe->skel->progs.pw_exit;
	probe->programs[3] = probe->skel->progs.pw_rmdir;
	probe->programs[4] = probe->skel->progs.pw_node;
	_Static_assert(BPF_PROBE_PROGRAMS == 5, "one line each above");

	/*
	 * Where the test run is not supported the answer is not known, and the counters may work.
	 */
	err = bpf_probe_node_pids(probe, &allocated, &pid_max);
	if (!err && !probe->skel->bss->pw_node_pids.has_pids_controller)
		return bpf_why_cause(ret_why, -EOPNOTSUPP,
				     "the kernel was built without CONFIG_CGROUP_PIDS");
	err = pidwarden_bpf__attach(probe->skel);
	if (err)
		return bpf_why(ret_why, "attaching the BPF programs", err);
	return 0;
}

int bpf_probe_new(const struct bpf_probe_options *options, struct bpf_probe **ret_probe,
		  struct bpf_probe_error *ret_why)
{
	uint32_t slots = options && options->slots ? options->slots : PW_SLOTS_DEFAULT;
	struct bpf_probe *probe;
	int err;

	if (slots < PW_GROUP_SLOTS || slots > PW_SLOTS_MAX || (slots & (slots - 1)) != 0) {
		*ret_why =
			(struct bpf_probe_error){ .err = -EINVAL,
						  .text = "slots is not a power of two in range" };
		return -EINVAL;
	}
	probe = calloc(1, sizeof(*probe));
	if (!probe) {
		*ret_why = (struct bpf_probe_error){ .err = -ENOMEM, .text = "out of memory" };
		return -ENOMEM;
	}
	probe->slots = slots;
	probe->stripes = stripes_for_cpus();
	probe->stats_fd = -1;
	bpf_why_begin();
	err = set_up(probe, options, ret_why);
	bpf_why_end();
	if (err) {
		bpf_probe_free(probe);
		return err;
	}
	*ret_probe = probe;
	return 0;
}

void bpf_probe_free(struct bpf_probe *probe)
{
	if (!probe)
		return;
	bpf_probe_stats_disable(probe);
	ring_buffer__free(probe->trips);
	ring_buffer__free(probe->rare);
	if (probe->owners)
		munmap(probe->owners, probe->owners_bytes);
	if (probe->counters)
		munmap(probe->counters, probe->counters_bytes);
	pidwarden_bpf__destroy(probe->skel);
	free(probe);
}

int bpf_probe_node_pids(struct bpf_probe *probe, uint64_t *ret_allocated, uint64_t *ret_pid_max)
{
	LIBBPF_OPTS(bpf_test_run_opts, run);
	const struct pw_node_pids *pids = &probe->skel->bss->pw_node_pids;
	int err;

	err = bpf_prog_test_run_opts(bpf_program__fd(probe->skel->progs.pw_node), &run);
	if (err)
		/* The kernel's own ENOTSUPP (524) is not an errno of user space. */
		return err == -524 || err == -EINVAL ? -EOPNOTSUPP : err;
	*ret_allocated = __atomic_load_n(&pids->allocated, __ATOMIC_RELAXED);
	*ret_pid_max = __atomic_load_n(&pids->pid_max, __ATOMIC_RELAXED);
	return 0;
}

int bpf_probe_cost(const struct bpf_probe *probe, size_t index, struct bpf_probe_cost *ret_cost)
{
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info);
	int err;

	if (index >= BPF_PROBE_PROGRAMS)
		return -ENOENT;
	err = bpf_obj_get_info_by_fd(bpf_program__fd(probe->programs[index]), &info, &len);
	if (err)
		return err;
	*ret_cost = (struct bpf_probe_cost){
		.run_time_ns = info.run_time_ns,
		.run_cnt = info.run_cnt,
		.recursion_misses = info.recursion_misses,
	};
	_Static_assert(sizeof(ret_cost->name) == BPF_OBJ_NAME_LEN, "copied whole, with its NUL");
	memcpy(ret_cost->name, info.name, sizeof(ret_cost->name));
	return 0;
}

int bpf_probe_stats_enable(struct bpf_probe *probe)
{
	int fd;

	if (probe->stats_fd >= 0)
		return 0;
	fd = bpf_enable_stats(BPF_STATS_RUN_TIME);
	if (fd < 0)
		return fd;
	probe->stats_fd = fd;
	return 0;
}

void bpf_probe_stats_disable(struct bpf_probe *probe)
{
	if (probe->stats_fd >= 0)
		close(probe->stats_fd);
	probe->stats_fd = -1;
}
