/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is keyed: reading connection IDs as crates/quic-lb/src/cipher.rs does, and SipHash-2-4.
 *
 * Owns blocks of octets. Those of connection IDs are big-endian numbers here. Tables and round keys of AES come with the
 * view. Looking into tables takes as long as the processor's caches make it, so who can time it on this machine may learn
 * about the key; it hides which server a connection ID names, and nothing else.
 */
#ifndef LEGATO_CIPHER_H
#define LEGATO_CIPHER_H

#include "packet.h"

/* SipHash-2-4 of `len` octets: as many whole words as they have, then the rest. */
static apart __u64 siphash(const __u64 *key, __u64 len, __u64 first, __u64 second, __u64 rest);

/* Single pass: decrypts the 16 octets, of which the first 8 may do. Gives those; the others stand in the block. */
static apart __u64 decrypt_front(const struct view *view, const struct config *config, __u32 *block);

/* Four passes: restores the octets of the server ID, and gives them likewise. */
static apart __u64 undo_four_passes(const struct view *view, const struct config *config, __u32 *block);

/* The 19 octets that a block has at most. */
static inlined void read_block(const __u8 *octets, __u32 *block)
{
	for (int word = 0; word < 4; word++)
		block[word] = ntohl(*(const __u32 *)(octets + 4 * word));
	block[4] = (__u32)octets[16] << 24 | (__u32)octets[17] << 16 | (__u32)octets[18] << 8;
}

/* Keeps the first `octets` of two numbers, 1 to 15 of them. */
static inlined void keep_front(__u64 *high, __u64 *low, __u32 octets)
{
	if (octets > 8) {
		*low &= ~0ULL << ((16 - octets) * 8 & 63);
	} else {
		*low = 0;
		*high &= ~0ULL << ((8 - octets) * 8 & 63);
	}
}

#endif
