/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is below QUIC: headers as they lie in a frame, sums, and the calls of the kernel.
 *
 * Owns nothing that has to do with balancing.
 */
#ifndef LEGATO_PACKET_H
#define LEGATO_PACKET_H

#include <linux/bpf.h>
#include <linux/types.h>

#include "layout.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the program reads its keys and tags as little-endian numbers"
#endif

#define inlined inline __attribute__((always_inline))

/* A function with a frame of its own. It is defined behind the program, which has to begin its section. */
#define apart __attribute__((noinline, section("xdp")))
#define ntohs(x) __builtin_bswap16(x)
#define htons(x) __builtin_bswap16(x)
#define ntohl(x) __builtin_bswap32(x)
#define htonl(x) __builtin_bswap32(x)

#define UDP 17
#define INET 2
#define INET6 10

/* Numbers from the enumeration bpf_func_id of linux/bpf.h. */
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static __u64 (*bpf_ktime_get_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;
static long (*bpf_redirect)(__u32 ifindex, __u64 flags) = (void *)BPF_FUNC_redirect;
static long (*bpf_xdp_adjust_head)(struct xdp_md *ctx, int delta) = (void *)BPF_FUNC_xdp_adjust_head;
static long (*bpf_fib_lookup)(void *ctx, struct bpf_fib_lookup *params, int size, __u32 flags) = (void *)BPF_FUNC_fib_lookup;

struct ethernet {
	__u8 to[6], from[6];
	__be16 type;
} __attribute__((packed, aligned(2)));

struct ipv4 {
	__u8 version; /* and length of the header */
	__u8 tos;
	__be16 total, id, fragment;
	__u8 ttl, protocol;
	__u16 check;
	__be32 from, to;
};

struct ipv6 {
	__be32 flow; /* version and traffic class included */
	__be16 payload;
	__u8 next, hops;
	__be32 from[4], to[4];
};

struct udp {
	__be16 from, to, len;
	__u16 check;
};

/* The sum of 16-bit words (RFC 1071), of which `sum` may hold pairs. */
static inlined __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* What addresses, protocol and length add to the checksum of UDP. */
static inlined __u64 pseudo_sum(const struct address *from, const struct address *to, __u32 len)
{
	return (__u64)from->ip[0] + from->ip[1] + from->ip[2] + from->ip[3] + to->ip[0] + to->ip[1] + to->ip[2] +
	       to->ip[3] + htons(UDP) + htons(len);
}

#endif
