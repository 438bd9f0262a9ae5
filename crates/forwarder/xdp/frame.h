/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Frames: reading them, finding the way on, and writing them anew. Included behind the program, which declares the two
 * functions that it calls.
 */
#ifndef LEGATO_FRAME_H
#define LEGATO_FRAME_H

#include "datagram.h"

static apart int read_frame(struct xdp_md *ctx, const struct view *view, struct arrival *arrival)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	const struct ethernet *ethernet = data;
	const struct udp *udp;
	__u32 inside;
	__u64 sum;
	int found = 0;

	if ((void *)(ethernet + 1) > end)
		return 0;
	if (ethernet->type == htons(0x0800)) {
		const struct ipv4 *ip = (void *)(ethernet + 1);

		if ((void *)(ip + 1) > end || ip->version != 0x45 || ip->protocol != UDP || ip->fragment & htons(0x3fff))
			return 0;
		/* Nobody else looks at it before the header is written anew. */
		sum = 0;
		for (int word = 0; word < 5; word++)
			sum += ((const __u32 *)ip)[word];
		if (fold(sum) != 0xffff)
			return 0;
		arrival->from.ip[0] = ip->from;
		arrival->at.ip[0] = ip->to;
		arrival->from.family = arrival->at.family = 4;
		arrival->ecn = ip->tos & 3;
		inside = ntohs(ip->total) - 20;
		udp = (void *)(ip + 1);
	} else if (ethernet->type == htons(0x86dd)) {
		const struct ipv6 *ip = (void *)(ethernet + 1);

		if ((void *)(ip + 1) > end || (ip->flow & htonl(0xf0000000)) != htonl(0x60000000) || ip->next != UDP)
			return 0;
		for (int word = 0; word < 4; word++) {
			arrival->from.ip[word] = ip->from[word];
			arrival->at.ip[word] = ip->to[word];
		}
		arrival->from.family = arrival->at.family = 6;
		arrival->ecn = ntohl(ip->flow) >> 20 & 3;
		inside = ntohs(ip->payload);
		udp = (void *)(ip + 1);
	} else {
		return 0;
	}
	if ((void *)(udp + 1) > end)
		return 0;
	arrival->from.port = udp->from;
	arrival->at.port = udp->to;
	arrival->check = udp->check;
	arrival->len = ntohs(udp->len) - 8;
	for (int number = 0; number < LISTENERS; number++) {
		const struct address *listener = &view->listeners[number];

		if (!listener->family)
			break;
		if (same_address(listener, &arrival->at)) {
			found = 1;
			break;
		}
	}
	if (!found || arrival->len > 0xffff || inside != arrival->len + 8 || end - data < offset_of(arrival->at.family) + arrival->len)
		return 0;
	if (!arrival->check)
		return arrival->at.family == 4 ? 1 : 0;
	/* A sender on this machine may leave checksum and segments to an interface that does not exist; then the field
	 * has the sum of the addresses only. */
	sum = pseudo_sum(&arrival->from, &arrival->at, arrival->len + 8);
	return fold(sum) == arrival->check ? -1 : 1;
}

/* Asks for the next hop. 0 if the program cannot send there. */
static inlined int find_way(struct xdp_md *ctx, const struct view *view, const struct arrival *arrival,
			  const struct address *to, __u32 len, struct bpf_fib_lookup *way)
{
	way->family = to->family == 4 ? INET : INET6;
	way->l4_protocol = UDP;
	way->sport = arrival->at.port;
	way->dport = to->port;
	way->tot_len = (to->family == 4 ? 20 : 40) + 8 + len;
	way->ifindex = ctx->ingress_ifindex;
	if (to->family == 4) {
		way->tos = arrival->ecn;
		way->ipv4_src = arrival->at.ip[0];
		way->ipv4_dst = to->ip[0];
	} else {
		for (int word = 0; word < 4; word++) {
			way->ipv6_src[word] = arrival->at.ip[word];
			way->ipv6_dst[word] = to->ip[word];
		}
	}
	if (bpf_fib_lookup(ctx, way, sizeof(*way), 0) != BPF_FIB_LKUP_RET_SUCCESS)
		return 0;
	for (int number = 0; number < INTERFACES; number++) {
		__u32 known = view->interfaces[number];

		if (!known)
			return 0;
		if (known == way->ifindex)
			return 1;
	}
	return 0;
}

/* Writes the frame anew around the payload, which stays where it is. 0 if there is no room; then the frame is lost. */
static inlined int write_frame(struct xdp_md *ctx, const struct arrival *arrival, const struct verdict *verdict,
				       const struct bpf_fib_lookup *way, __u32 len)
{
	const struct address *to = &verdict->to, *at = &arrival->at;
	int is_reply = verdict->kind == REPLY;
	struct ethernet *ethernet;
	struct udp *udp;
	__u64 inside = 0, sum;
	void *data, *end;
	__be32 *header;

	for (int word = 0; word < 4; word++)
		inside += verdict->header[word];
	if (to->family == 6)
		inside += (__u64)verdict->header[4] + verdict->header[5] + verdict->header[6];
	/* What the payload adds to the checksum is what the old one has besides addresses, ports and header. */
	sum = (__u16)~arrival->check;
	sum += (__u16)~fold(pseudo_sum(&arrival->from, at, arrival->len + 8) + arrival->from.port + at->port +
			    htons(arrival->len + 8) + (is_reply ? inside : 0));
	sum += pseudo_sum(at, to, len + 8) + at->port + to->port + htons(len + 8) + (is_reply ? 0 : inside);
	sum = (__u16)~fold(sum);
	if (bpf_xdp_adjust_head(ctx, (int)arrival->len - (int)len))
		return 0;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	ethernet = data;
	if (to->family == 4) {
		struct ipv4 *ip = (void *)(ethernet + 1);

		udp = (void *)(ip + 1);
		if ((void *)(udp + 1) > end)
			return 0;
		ethernet->type = htons(0x0800);
		ip->version = 0x45;
		ip->tos = arrival->ecn;
		ip->total = htons(20 + 8 + len);
		ip->id = 0;
		ip->fragment = htons(0x4000);
		ip->ttl = 64;
		ip->protocol = UDP;
		ip->from = at->ip[0];
		ip->to = to->ip[0];
		ip->check = ~fold((__u64)htons(0x4500 | arrival->ecn) + ip->total + htons(0x4000) + htons(64 << 8 | UDP) +
				  ip->from + ip->to);
	} else {
		struct ipv6 *ip = (void *)(ethernet + 1);

		udp = (void *)(ip + 1);
		if ((void *)(udp + 1) > end)
			return 0;
		ethernet->type = htons(0x86dd);
		ip->flow = htonl(0x60000000 | (__u32)arrival->ecn << 20);
		ip->payload = htons(8 + len);
		ip->next = UDP;
		ip->hops = 64;
		for (int word = 0; word < 4; word++) {
			ip->from[word] = at->ip[word];
			ip->to[word] = to->ip[word];
		}
	}
	__builtin_memcpy(ethernet->to, way->dmac, 6);
	__builtin_memcpy(ethernet->from, way->smac, 6);
	udp->from = at->port;
	udp->to = to->port;
	udp->len = htons(8 + len);
	udp->check = !arrival->check ? 0 : sum ? sum : 0xffff;
	if (is_reply)
		return 1;
	header = (void *)(udp + 1);
	if ((void *)(header + 4) > end)
		return 0;
	for (int word = 0; word < 4; word++)
		header[word] = verdict->header[word];
	if (to->family == 4)
		return 1;
	if ((void *)(header + 7) > end)
		return 0;
	for (int word = 4; word < 7; word++)
		header[word] = verdict->header[word];
	return 1;
}

static apart int send(struct xdp_md *ctx, const struct view *view, const struct arrival *arrival, const struct verdict *verdict)
{
	__u32 more = verdict->to.family == 4 ? 16 : 28;
	__u32 len = verdict->kind == REPLY ? arrival->len - more : arrival->len + more;
	struct bpf_fib_lookup way = {};

	if (!find_way(ctx, view, arrival, &verdict->to, len, &way))
		return XDP_PASS;
	if (!write_frame(ctx, arrival, verdict, &way, len))
		return XDP_DROP;
	return way.ifindex == ctx->ingress_ifindex ? XDP_TX : bpf_redirect(way.ifindex, 0);
}

#endif
