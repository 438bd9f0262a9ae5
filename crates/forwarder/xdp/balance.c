// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The plane in the kernel: what View::judge decides in src/judge.rs, for the packets that an interface receives.
 *
 * Owns the way of a packet from one frame to another. Must not know where the view comes from. Whatever it is not sure
 * of (fragments, options, no neighbour yet, another interface, the other IP version) it passes on to the plane in
 * userspace, which listens at the same address and decides alike. So it drops only what would be dropped there, too.
 */
#include "layout.h"
#include "packet.h"
#include "cipher.h"

/* The process makes these maps; their symbols only say where their descriptors go. */
int views __attribute__((section("maps")));
int counts __attribute__((section("maps")));
int meters __attribute__((section("maps")));

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

/* Reads a frame. 0 unless it is a whole datagram without options for one of the listeners; negative if only userspace
 * can tell its segments and its checksum. */
static apart int read_frame(struct xdp_md *ctx, const struct view *view, struct arrival *arrival);

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

#include "rounds.h"

/* By this the process sees whether program and process mean the same. */
const __u32 made_for[] __attribute__((section("layout"), used)) = { LAYOUT, sizeof(struct view), sizeof(struct counters) };
