// SPDX-License-Identifier: Apache-2.0
/*
 * The trip wires' side of the probe. Nothing here allocates or, but for the wait, enters the
 * kernel: the sentinel calls it when no PID and perhaps no memory is left.
 */
#include <errno.h>

#include "read/bpf_probe_private.h"

/*
 * Off, fields, sequence number, on: a program that reads in between sees either the wire off, or
 * the old sequence number, with which its record is thrown away and the wire stays armed (struct
 * pw_wire).
 */
static void arm(struct bpf_probe *probe, uint32_t limit, uint64_t cgroup_id, uint64_t threshold)
{
	struct pw_settings *settings = &probe->skel->bss->pw_settings;
	struct pw_wire *wire = &settings->wire[limit];
	uint32_t bit = 1U << limit;

	if (threshold > 0 && (__atomic_load_n(&settings->wires, __ATOMIC_RELAXED) & bit) &&
	    wire->threshold == threshold && wire->cgroup_id == cgroup_id &&
	    __atomic_load_n(&wire->fired_seq, __ATOMIC_ACQUIRE) != wire->armed_seq)
		return; /* armed just so */
	__atomic_fetch_and(&settings->wires, ~bit, __ATOMIC_SEQ_CST);
	__atomic_store_n(&wire->cgroup_id, cgroup_id, __ATOMIC_RELAXED);
	__atomic_store_n(&wire->threshold, threshold, __ATOMIC_RELAXED);
	__atomic_fetch_add(&wire->armed_seq, 1, __ATOMIC_SEQ_CST);
	if (threshold > 0)
		__atomic_fetch_or(&settings->wires, bit, __ATOMIC_SEQ_CST);
}

void bpf_probe_arm_pid_allocated(struct bpf_probe *probe, uint64_t threshold)
{
	arm(probe, PW_TRIP_PID_ALLOCATED, 0, threshold);
}

void bpf_probe_arm_cgroup(struct bpf_probe *probe, uint64_t cgroup_id, uint64_t threshold)
{
	arm(probe, PW_TRIP_CGROUP_TASKS, cgroup_id, threshold);
}

int bpf_probe_trip_fd(const struct bpf_probe *probe)
{
	return ring_buffer__epoll_fd(probe->trips);
}

int bpf_probe_on_trip(void *ctx, void *data, size_t size)
{
	struct bpf_probe *probe = ctx;
	const struct pw_trip *trip = data;
	const struct pw_wire *wire;

	if (size < sizeof(*trip) || trip->limit >= PW_TRIP_LIMITS)
		return 0;
	wire = &probe->skel->bss->pw_settings.wire[trip->limit];
	/* Of an arming that is over, or sent by another CPU at the same moment. */
	if (trip->seq != __atomic_load_n(&wire->armed_seq, __ATOMIC_ACQUIRE) ||
	    trip->seq == probe->trip_seq[trip->limit])
		return 0;
	probe->trip_seq[trip->limit] = trip->seq;
	probe->trip_calls++;
	probe->trip_fn(trip, probe->trip_data);
	return 0;
}

int bpf_probe_trip_consume(struct bpf_probe *probe, bpf_probe_trip_fn fn, void *data)
{
	int n;

	probe->trip_fn = fn;
	probe->trip_data = data;
	probe->trip_calls = 0;
	n = ring_buffer__consume(probe->trips);
	return n < 0 ? n : probe->trip_calls;
}

int bpf_probe_trip_wait(struct bpf_probe *probe, int timeout_ms, bpf_probe_trip_fn fn, void *data)
{
	int n;

	probe->trip_fn = fn;
	probe->trip_data = data;
	probe->trip_calls = 0;
	n = ring_buffer__poll(probe->trips, timeout_ms);
	return n < 0 ? n : probe->trip_calls;
}
