// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The plane in the kernel: what View::judge decides in src/judge.rs, for the packets that an interface receives.
 *
 * Owns the way of a packet from one frame to another. Must not know where the view comes from. Whatever it is not sure
 * of (fragments, options, no neighbour yet, another interface, the other IP version) it passes on to the plane in
 * userspace, which listens at the same address and decides alike. So it drops only what would be dropped there, too.
 */
#include "judge.h"

/* The process makes these maps; their symbols only say where their descriptors go. */
int views __attribute__((section("maps")));
int counts __attribute__((section("maps")));
int meters __attribute__((section("maps")));

/* Reads a frame. 0 unless it is a whole datagram without options for one of the listeners; negative if only userspace
 * can tell its segments and its checksum. */
static apart int read_frame(struct xdp_md *ctx, const struct view *view, struct arrival *arrival);

/* Sends what the verdict says, if the way is known. Gives what becomes of the frame. */
static apart int send(struct xdp_md *ctx, const struct view *view, const struct arrival *arrival, const struct verdict *verdict);

static inlined void count(struct counters *counters, const struct arrival *arrival, const struct verdict *verdict)
{
	struct traffic *traffic;
	__u32 meter = verdict->meter;

	counters->received++;
	counters->octets += arrival->len;
	if (verdict->kind == DROP) {
		if (verdict->detail < REASONS)
			counters->reasons[verdict->detail]++;
		return;
	}
	if (verdict->kind == REPLY)
		counters->replies++;
	else if (verdict->detail < ROUTES)
		counters->routes[verdict->detail]++;
	if (verdict->config < CONFIGS - 1)
		counters->configs[verdict->config]++;
	traffic = bpf_map_lookup_elem(&meters, &meter);
	if (traffic && verdict->kind == REPLY)
		traffic->replies++;
	else if (traffic)
		traffic->requests++;
}

__attribute__((section("xdp"), used)) int balance(struct xdp_md *ctx)
{
	struct arrival arrival = {};
	struct verdict verdict = { .config = CONFIGS, .meter = BACKENDS };
	struct counters *counters;
	const struct view *view;
	void *current;
	__u32 zero = 0;
	int read, action;

	current = bpf_map_lookup_elem(&views, &zero);
	if (!current)
		return XDP_PASS;
	view = bpf_map_lookup_elem(current, &zero);
	counters = bpf_map_lookup_elem(&counts, &zero);
	if (!view || !counters)
		return XDP_PASS;
	read = read_frame(ctx, view, &arrival);
	if (!read)
		return XDP_PASS;
	if (read > 0)
		judge(ctx, view, &arrival, &verdict);
	if (verdict.kind == DROP) {
		count(counters, &arrival, &verdict);
		return XDP_DROP;
	}
	action = verdict.kind == PASS ? XDP_PASS : send(ctx, view, &arrival, &verdict);
	if (action == XDP_PASS) {
		counters->passed++;
		return XDP_PASS;
	}
	if (action == XDP_DROP) {
		verdict.kind = DROP;
		verdict.detail = DROP_SEND_REFUSED;
	}
	count(counters, &arrival, &verdict);
	return action;
}

/* What it calls, which is declared apart. */
#include "frame.h"
#include "tunnel.h"
#include "rounds.h"

/* By this the process sees whether program and process mean the same. */
const __u32 made_for[] __attribute__((section("layout"), used)) = { LAYOUT, sizeof(struct view), sizeof(struct counters) };
