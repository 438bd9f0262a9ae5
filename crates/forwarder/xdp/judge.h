/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where a datagram goes: View::judge of src/judge.rs.
 *
 * Owns the decision. Must not know how frames are written.
 */
#ifndef LEGATO_JUDGE_H
#define LEGATO_JUDGE_H

#include "cipher.h"
#include "datagram.h"

/* Gives the verdict about what a server sends or what looks encapsulated; 0 if it may be a client's packet. */
static apart int encapsulated(struct xdp_md *ctx, const struct view *view, const struct arrival *arrival, __u32 server,
			      struct verdict *verdict);

/* The backend at an address or IS_BALANCER, plus one; 0 if it is neither's. */
static apart __u32 who_is(const struct view *view, const struct address *address);

/* The backend of a server ID, plus one; 0 if there is none. */
static inlined __u32 named(const struct view *view, __u64 high, __u64 low)
{
	__u64 mixed = (view->seed ^ high) * 0x9e3779b97f4a7c15ULL;
	__u32 at;

	mixed = (mixed ^ mixed >> 29 ^ low) * 0xbf58476d1ce4e5b9ULL;
	at = mixed >> (64 - NAMES_BITS);
	for (int probe = 0; probe < PROBES; probe++) {
		const struct name_slot *slot = &view->names[(at + probe) & (NAMES - 1)];

		if (!slot->id[1])
			return 0;
		if (slot->id[0] == high && slot->id[1] == low)
			return (__u32)slot->backend + 1;
	}
	return 0;
}

static inlined __u64 tag_of(const __u64 *key, const __u32 *header, int family)
{
	__u64 first = (__u64)header[1] << 32 | header[0];

	if (family == 4)
		return siphash(key, 8, first, 0, 0);
	return siphash(key, 20, first, (__u64)header[3] << 32 | header[2], header[4]);
}

/* The checksum in ServerId::from_ipv4: whether an ID of 8 octets may be an address. */
static inlined int may_be_address(__u64 id)
{
	__u32 sum = (id >> 48) + (id >> 32 & 0xffff) + (id >> 16 & 0xffff);

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (~sum & 0xffff) == (id & 0xffff);
}

/* Leads by connection ID. Gives CONNECTION_ID, or why it has to be hashed; PASS and DROP are written down. */
static inlined __u32 lead(const struct view *view, const __u8 *cid, __u32 len, int is_long, const void *end,
				  struct verdict *verdict)
{
	const struct config *config;
	const struct backend *backend;
	__u64 high, low;
	__u32 block[5], found;
	__u8 first;

	if (!len)
		return TOO_SHORT;
	if ((void *)(cid + 1) > end)
		return TOO_SHORT;
	first = cid[0];
	if (first >> 5 == 7)
		return RESERVED_CODEPOINT;
	config = &view->configs[first >> 5];
	if (config->cipher == UNUSED)
		return UNKNOWN_CONFIG;
	if (is_long && config->described && (first & 0x1f) + 1 != len)
		return WRONG_LENGTH;
	if (len <= config->block_len)
		return TOO_SHORT;
	if ((void *)(cid + 20) > end) {
		/* A long header with next to nothing behind it. */
		verdict->kind = PASS;
		return TOO_SHORT;
	}
	read_block(cid + 1, block);
	if (config->cipher == SINGLE_PASS)
		high = decrypt_front(view, config, block);
	else if (config->cipher == FOUR_PASS)
		high = undo_four_passes(view, config, block);
	else
		high = (__u64)block[0] << 32 | block[1];
	low = (__u64)block[2] << 32 | block[3];
	keep_front(&high, &low, config->id_len);
	low |= config->id_len;
	found = named(view, high, low);
	if (!found) {
		if (view->flags & BELIEVES_DERIVED && config->cipher != PLAINTEXT && config->id_len == 8 && may_be_address(high))
			verdict->kind = PASS;
		return UNKNOWN_SERVER;
	}
	backend = &view->backends[(found - 1) & (BACKENDS - 1)];
	if (backend->dead_until) {
		if (bpf_ktime_get_ns() >= backend->dead_until)
			return DEAD_SERVER;
		verdict->kind = DROP;
		verdict->detail = DROP_DEAD_SERVER;
		return DEAD_SERVER;
	}
	verdict->to = backend->address;
	verdict->meter = backend->meter;
	verdict->config = first >> 5;
	return CONNECTION_ID;
}

/* The server for new connections of this client: keyed Maglev over its address. */
static inlined int hashed(const struct view *view, const struct address *client, struct verdict *verdict)
{
	const struct backend *backend;
	__u64 first, hash;

	if (!(view->flags & HAS_PLACES))
		return 0;
	if (client->family == 4) {
		hash = siphash(view->hash_key, 6, 0, 0, (__u64)client->port << 32 | client->ip[0]);
	} else {
		first = (__u64)client->ip[1] << 32 | client->ip[0];
		hash = siphash(view->hash_key, 18, first, (__u64)client->ip[3] << 32 | client->ip[2], client->port);
	}
	hash %= PLACES;
	/* The compiler knows, the kernel has to be shown. */
	asm volatile("" : "+r"(hash));
	if (hash >= PLACES)
		return 0;
	backend = &view->backends[view->places[hash] & (BACKENDS - 1)];
	verdict->to = backend->address;
	verdict->meter = backend->meter;
	return 1;
}

/* Decides about a client's packet. */
static inlined void decide(struct xdp_md *ctx, const struct view *view, const struct arrival *arrival,
			   struct verdict *verdict)
{
	const __u8 *payload = (void *)(long)ctx->data + offset_of(arrival->at.family);
	const void *end = (void *)(long)ctx->data_end;
	const struct address *from = &arrival->from;
	__u32 len = arrival->len, skip = 1;
	int is_long = 0;

	verdict->kind = DROP;
	verdict->detail = DROP_NO_CLIENT;
	if (!is_a_clients(from))
		return;
	verdict->detail = DROP_TRUNCATED;
	if (len < 6 || (void *)(payload + 6) > end)
		return;
	if (payload[0] & 0x80) {
		__u32 of_id = payload[5];

		if (!(payload[1] | payload[2] | payload[3] | payload[4])) {
			verdict->detail = DROP_VERSION_NEGOTIATION;
			return;
		}
		if (len < 7 + of_id)
			return;
		is_long = 1;
		skip = 6;
		len = of_id;
	} else if (len < 21) {
		return;
	}
	verdict->kind = FORWARD;
	verdict->detail = lead(view, payload + skip, len, is_long, end, verdict);
	if (verdict->kind == DROP)
		verdict->detail = DROP_DEAD_SERVER;
	if (verdict->kind != FORWARD)
		return;
	if (verdict->detail != CONNECTION_ID && !hashed(view, from, verdict)) {
		verdict->kind = DROP;
		verdict->detail = DROP_NO_SERVER;
		return;
	}
	if (verdict->to.family != from->family) {
		verdict->kind = PASS;
		return;
	}
	/* The header that tells the server who the client is. */
	{
		__u32 *header = verdict->header;
		__u64 tag;

		header[0] = htonl(0x09000000) | (__u32)from->port << 16;
		header[1] = from->ip[0];
		if (from->family == 4) {
			tag = tag_of(view->tag_key, header, 4);
			header[2] = tag;
			header[3] = tag >> 32;
		} else {
			header[0] |= htonl(0x00020000);
			header[2] = from->ip[1];
			header[3] = from->ip[2];
			header[4] = from->ip[3];
			tag = tag_of(view->tag_key, header, 6);
			header[5] = tag;
			header[6] = tag >> 32;
		}
	}
}

static inlined void judge(struct xdp_md *ctx, const struct view *view, const struct arrival *arrival,
			  struct verdict *verdict)
{
	const __u8 *payload = (void *)(long)ctx->data + offset_of(arrival->at.family);
	const void *end = (void *)(long)ctx->data_end;
	__u32 who = who_is(view, &arrival->from);
	__u32 server = who == IS_BALANCER + 1 ? 0 : who;
	int looks = (void *)(payload + 1) <= end && arrival->len && (payload[0] & 0xf8) == 0x08;

	if (server || looks) {
		if (encapsulated(ctx, view, arrival, server, verdict)) {
			if (server)
				verdict->meter = view->backends[(server - 1) & (BACKENDS - 1)].meter;
			return;
		}
	}
	verdict->kind = DROP;
	verdict->detail = DROP_LOOP;
	if (who || same_address(&arrival->from, &arrival->at))
		return;
	verdict->detail = DROP_TOO_LARGE;
	if (arrival->len > view->max_payload)
		return;
	decide(ctx, view, arrival, verdict);
}

#endif
