/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The functions that judge.h declares: who an address is, and what a server sends. Included behind the program.
 */
#ifndef LEGATO_TUNNEL_H
#define LEGATO_TUNNEL_H

#include "judge.h"

static apart __u32 who_is(const struct view *view, const struct address *address)
{
	__u64 mixed = view->seed;
	__u32 at;

	mixed = (mixed ^ ((__u64)address->ip[0] << 32 | address->ip[1])) * 0x9e3779b97f4a7c15ULL;
	mixed = (mixed ^ mixed >> 29 ^ ((__u64)address->ip[2] << 32 | address->ip[3])) * 0xbf58476d1ce4e5b9ULL;
	mixed = (mixed ^ mixed >> 32 ^ address->port) * 0x94d049bb133111ebULL;
	at = mixed >> (64 - ADDRESSES_BITS);
	for (int probe = 0; probe < PROBES; probe++) {
		const struct address_slot *slot = &view->addresses[(at + probe) & (ADDRESSES - 1)];

		if (!slot->address.family)
			return 0;
		if (same_address(&slot->address, address))
			return slot->backend + 1;
	}
	return 0;
}

static apart int encapsulated(struct xdp_md *ctx, const struct view *view, const struct arrival *arrival, __u32 server,
			      struct verdict *verdict)
{
	const __u8 *payload = (void *)(long)ctx->data + offset_of(arrival->at.family);
	const void *end = (void *)(long)ctx->data_end;
	__u32 *header = verdict->header;
	struct address client = {};
	__u32 size = 8, flags;
	__u64 tag;

	verdict->kind = DROP;
	verdict->detail = DROP_NOT_ENCAPSULATED;
	if (arrival->len < 1 || (void *)(payload + 1) > end || (payload[0] & 0xf8) != 0x08)
		return server;
	verdict->detail = DROP_REPLY_VERSION;
	if (payload[0] != 0x09)
		return server;
	verdict->detail = DROP_REPLY_MALFORMED;
	if (arrival->len < 16 || (void *)(payload + 16) > end)
		return server;
	flags = payload[1];
	if (flags & ~3)
		return server;
	header[0] = *(__u32 *)payload;
	header[1] = *(__u32 *)(payload + 4);
	client.ip[0] = header[1];
	client.port = header[0] >> 16;
	client.family = 4;
	if (flags & 2) {
		if (arrival->len < 28 || (void *)(payload + 28) > end)
			return server;
		header[2] = *(__u32 *)(payload + 8);
		header[3] = *(__u32 *)(payload + 12);
		header[4] = *(__u32 *)(payload + 16);
		client.ip[1] = header[2];
		client.ip[2] = header[3];
		client.ip[3] = header[4];
		client.family = 6;
		size = 20;
		tag = *(__u64 *)(payload + 20);
	} else {
		tag = *(__u64 *)(payload + 8);
	}
	verdict->detail = DROP_REPLY_TAG;
	if (tag != tag_of(view->tag_key, header, client.family) &&
	    !(view->flags & HAS_OTHER_KEY && tag == tag_of(view->other_key, header, client.family)))
		return server;
	verdict->detail = DROP_REPLY_MALFORMED;
	if (arrival->len == size + 8)
		return server;
	verdict->detail = DROP_REPLY_CLIENT;
	if (!is_a_clients(&client))
		return server;
	if (!(flags & 1)) {
		verdict->detail = DROP_LOOP;
	} else if (!server) {
		/* It may come from a server that is only known by the address in connection IDs. */
		verdict->detail = DROP_STRANGER;
		if (view->flags & BELIEVES_DERIVED)
			verdict->kind = PASS;
	} else if (!same_address(&client, &arrival->at) && !who_is(view, &client)) {
		verdict->kind = client.family == arrival->at.family ? REPLY : PASS;
		verdict->to = client;
		header[size / 4] = tag;
		header[size / 4 + 1] = tag >> 32;
	}
	return 1;
}

#endif
