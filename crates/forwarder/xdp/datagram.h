/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A datagram that arrived, and what becomes of it.
 *
 * Owns what the other files hand to each other. Must not know who decides, nor how frames are read and written.
 */
#ifndef LEGATO_DATAGRAM_H
#define LEGATO_DATAGRAM_H

#include "packet.h"

enum kind { PASS, DROP, FORWARD, REPLY };

/* A datagram that arrived at a listener. */
struct arrival {
	struct address from, at;
	__u32 len; /* of the payload */
	__u16 check;
	__u8 ecn;
};

/* What becomes of it. */
struct verdict {
	enum kind kind;
	__u32 detail; /* route or reason */
	__u32 config; /* that led the way, or CONFIGS */
	__u32 meter;  /* of the server, or BACKENDS */
	struct address to;
	__u32 header[7]; /* the encapsulation that is put before the payload, or taken away */
};

/* Where the payload of UDP is in a frame. */
static inlined __u32 offset_of(int family)
{
	return 14 + (family == 4 ? 20 : 40) + 8;
}

/* There is one branch only, as the kernel follows each of them to the end. */
static inlined int same_address(const struct address *a, const struct address *b)
{
	return !((a->port ^ b->port) | (a->family ^ b->family) | (a->ip[0] ^ b->ip[0]) | (a->ip[1] ^ b->ip[1]) |
		 (a->ip[2] ^ b->ip[2]) | (a->ip[3] ^ b->ip[3]));
}

/* As is_a_clients in src/encapsulation.rs: one host that answers can be sent to. */
static inlined int is_a_clients(const struct address *a)
{
	__u32 first = ntohl(a->ip[0]);

	if (!a->port)
		return 0;
	if (a->family == 4)
		return first != 0 && first >> 28 != 0xe && first != 0xffffffff;
	if (first >> 24 == 0xff || first >> 22 == 0xfe80 >> 6)
		return 0;
	if (first == 0 && a->ip[1] == 0)
		return !(a->ip[2] == htonl(0xffff)) && (a->ip[2] || a->ip[3]);
	return 1;
}

#endif
