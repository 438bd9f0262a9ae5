/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the process hands to the program: a view as one value of a map, and the counters that come back.
 *
 * Owns the layout. src/xdp/image.rs writes the view and src/xdp/program.rs reads the counters; both hold to these sizes.
 */
#ifndef LEGATO_LAYOUT_H
#define LEGATO_LAYOUT_H

#include <linux/types.h>

#define LAYOUT 1 /* to be counted up with every change of what is here */

#define CONFIGS 8 /* the eighth is never used: codepoint 0b111 is nobody's */
#define LISTENERS 32
#define INTERFACES 16
#define BACKENDS 4096
#define NAMES 32768     /* slots; a power of two, a quarter of which is filled at most */
#define ADDRESSES 16384 /* likewise */
#define NAMES_BITS 15
#define ADDRESSES_BITS 14
#define PROBES 16 /* slots looked at; the process chooses a seed with which that suffices */
#define PLACES 65537

#define HAS_OTHER_KEY 1
#define HAS_PLACES 2
#define BELIEVES_DERIVED 4

#define IS_BALANCER 0xffff /* in `address_slot.backend` */

enum cipher { UNUSED, PLAINTEXT, SINGLE_PASS, FOUR_PASS };

/* An address as it stands in packets; one of IPv4 is in the first word. */
struct address {
	__be32 ip[4];
	__be16 port;
	__u16 family; /* 4 or 6 */
};

struct config {
	__u8 cipher;
	__u8 id_len;
	__u8 block_len;
	__u8 described; /* whether long headers have to agree with the length in the first octet */
	__u32 keys[44]; /* AES round keys: of the inverse cipher for single pass, else of the cipher */
};

struct backend {
	struct address address;
	__u32 meter;
	__u64 dead_until; /* 0 while it lives; else nanoseconds of the monotonic clock */
};

/* A server ID as two numbers, its length in the lowest octet; 0 is no ID. */
struct name_slot {
	__u64 id[2];
	__u64 backend;
};

struct address_slot {
	struct address address;
	__u32 backend; /* or IS_BALANCER */
};

struct view {
	__u64 hash_key[2];
	__u64 tag_key[2];
	__u64 other_key[2];
	__u64 seed;
	__u32 max_payload;
	__u32 flags;
	__u32 interfaces[INTERFACES]; /* whose packets may leave there; 0 ends */
	__u32 encrypt[4][256];        /* AES tables */
	__u32 decrypt[4][256];
	__u8 box[256];
	__u8 inverse_box[256];
	struct config configs[CONFIGS];
	struct address listeners[LISTENERS]; /* family 0 ends */
	struct backend backends[BACKENDS];
	struct name_slot names[NAMES];
	struct address_slot addresses[ADDRESSES];
	__u16 places[PLACES + 3];
};

/* In the order of Route and Reason in src/reason.rs. */
enum route { CONNECTION_ID, DERIVED_ADDRESS, RESERVED_CODEPOINT, UNKNOWN_CONFIG, TOO_SHORT, WRONG_LENGTH, UNKNOWN_SERVER, DEAD_SERVER, ROUTES };

enum reason {
	DROP_TRUNCATED,
	DROP_TOO_LARGE,
	DROP_VERSION_NEGOTIATION,
	DROP_NO_CLIENT,
	DROP_LOOP,
	DROP_NO_SERVER,
	DROP_DEAD_SERVER,
	DROP_OTHER_FAMILY,
	DROP_NOT_ENCAPSULATED,
	DROP_REPLY_VERSION,
	DROP_REPLY_MALFORMED,
	DROP_REPLY_TAG,
	DROP_REPLY_CLIENT,
	DROP_STRANGER,
	DROP_SEND_BLOCKED,
	DROP_SEND_TOO_LARGE,
	DROP_SEND_REFUSED,
	REASONS
};

struct counters {
	__u64 received; /* that it decided about; the others are counted where they are passed to */
	__u64 octets;
	__u64 replies;
	__u64 passed; /* for a listener, and left to the plane in userspace */
	__u64 routes[ROUTES];
	__u64 reasons[REASONS];
	__u64 configs[CONFIGS - 1];
};

struct traffic {
	__u64 requests;
	__u64 replies;
};

#endif
