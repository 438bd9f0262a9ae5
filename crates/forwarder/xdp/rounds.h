/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The functions that cipher.h declares. Included behind the program.
 */
#ifndef LEGATO_ROUNDS_H
#define LEGATO_ROUNDS_H

#include "cipher.h"

#define ROTATED(x, by) ((x) << (by) | (x) >> (64 - (by)))
#define ROUND                           \
	do {                            \
		a += b;                 \
		c += d;                 \
		b = ROTATED(b, 13) ^ a; \
		d = ROTATED(d, 16) ^ c; \
		a = ROTATED(a, 32);     \
		c += b;                 \
		a += d;                 \
		b = ROTATED(b, 17) ^ c; \
		d = ROTATED(d, 21) ^ a; \
		c = ROTATED(c, 32);     \
	} while (0)
#define BLOCK(m)          \
	do {              \
		d ^= (m); \
		ROUND;    \
		ROUND;    \
		a ^= (m); \
	} while (0)

static apart __u64 siphash(const __u64 *key, __u64 len, __u64 first, __u64 second, __u64 rest)
{
	__u64 a = key[0] ^ 0x736f6d6570736575ULL, b = key[1] ^ 0x646f72616e646f6dULL;
	__u64 c = key[0] ^ 0x6c7967656e657261ULL, d = key[1] ^ 0x7465646279746573ULL;

	if (len >= 8)
		BLOCK(first);
	if (len >= 16)
		BLOCK(second);
	rest |= len << 56;
	BLOCK(rest);
	c ^= 0xff;
	ROUND;
	ROUND;
	ROUND;
	ROUND;
	return a ^ b ^ c ^ d;
}

#define BYTE(x, n) ((x) >> (24 - 8 * (n)) & 0xff)
#define MIXED(table, w, x, y, z, key) \
	((table)[0][BYTE(w, 0)] ^ (table)[1][BYTE(x, 1)] ^ (table)[2][BYTE(y, 2)] ^ (table)[3][BYTE(z, 3)] ^ (key))
#define BOXED(box, w, x, y, z, key)                                                                     \
	(((__u32)(box)[BYTE(w, 0)] << 24 | (__u32)(box)[BYTE(x, 1)] << 16 | (__u32)(box)[BYTE(y, 2)] << 8 | \
	  (box)[BYTE(z, 3)]) ^ (key))

static apart __u64 decrypt_front(const struct view *view, const struct config *config, __u32 *block)
{
	const __u32 *key = config->keys;
	const __u8 *box = view->inverse_box;
	__u32 a = block[0] ^ key[0], b = block[1] ^ key[1], c = block[2] ^ key[2], d = block[3] ^ key[3];

#pragma unroll
	for (int round = 1; round < 10; round++) {
		__u32 e = MIXED(view->decrypt, a, d, c, b, key[4 * round]);
		__u32 f = MIXED(view->decrypt, b, a, d, c, key[4 * round + 1]);
		__u32 g = MIXED(view->decrypt, c, b, a, d, key[4 * round + 2]);

		d = MIXED(view->decrypt, d, c, b, a, key[4 * round + 3]);
		a = e;
		b = f;
		c = g;
	}
	if (config->id_len > 8) {
		block[2] = BOXED(box, c, b, a, d, key[42]);
		block[3] = BOXED(box, d, c, b, a, key[43]);
	}
	return (__u64)(__u32)BOXED(box, a, d, c, b, key[40]) << 32 | (__u32)BOXED(box, b, a, d, c, key[41]);
}

struct wide {
	__u64 high, low;
};

/* Shifts by 0 to 127 bits. There are no branches, as the kernel would follow each of them to the end. */
static inlined struct wide shifted_left(struct wide x, __u32 by)
{
	__u64 far = -(__u64)(by >> 6 & 1);

	x.high = (x.low & far) | (x.high & ~far);
	x.low &= ~far;
	by &= 63;
	x.high = x.high << by | x.low >> 1 >> (63 - by);
	x.low <<= by;
	return x;
}

static inlined struct wide shifted_right(struct wide x, __u32 by)
{
	__u64 far = -(__u64)(by >> 6 & 1);

	x.low = (x.high & far) | (x.low & ~far);
	x.high &= ~far;
	by &= 63;
	x.low = x.low >> by | x.high << 1 << (63 - by);
	x.high >>= by;
	return x;
}

static inlined struct wide encrypted(const struct view *view, const __u32 *key, struct wide input)
{
	const __u8 *box = view->box;
	__u32 a = (input.high >> 32) ^ key[0], b = (__u32)input.high ^ key[1];
	__u32 c = (input.low >> 32) ^ key[2], d = (__u32)input.low ^ key[3];
	struct wide output;

#pragma unroll
	for (int round = 1; round < 10; round++) {
		__u32 e = MIXED(view->encrypt, a, b, c, d, key[4 * round]);
		__u32 f = MIXED(view->encrypt, b, c, d, a, key[4 * round + 1]);
		__u32 g = MIXED(view->encrypt, c, d, a, b, key[4 * round + 2]);

		d = MIXED(view->encrypt, d, a, b, c, key[4 * round + 3]);
		a = e;
		b = f;
		c = g;
	}
	output.high = (__u64)(__u32)BOXED(box, a, b, c, d, key[40]) << 32 | (__u32)BOXED(box, b, c, d, a, key[41]);
	output.low = (__u64)(__u32)BOXED(box, c, d, a, b, key[42]) << 32 | (__u32)BOXED(box, d, a, b, c, key[43]);
	return output;
}

/* Each half is at the front of its number; if their octets are odd,
 * the middle one is divided and four zero bits stand before the right half. */
static apart __u64 undo_four_passes(const struct view *view, const struct config *config, __u32 *block)
{
	__u32 bits = 4 * config->block_len, gap = bits & 7;
	struct wide whole = { (__u64)block[0] << 32 | block[1], (__u64)block[2] << 32 | block[3] };
	struct wide ones = { ~0ULL, ~0ULL };
	struct wide left_mask = shifted_left(ones, (128 - bits) & 127);
	struct wide right_mask = shifted_right(left_mask, gap);
	struct wide left = { whole.high & left_mask.high, whole.low & left_mask.low };
	struct wide right = shifted_left(whole, bits & 127), tail = { (__u64)block[4] << 32, 0 };

	tail = shifted_right(tail, (128 - bits) & 127);
	right.high |= tail.high;
	right.low |= tail.low;
	right = shifted_right(right, gap);
	right.high &= right_mask.high;
	right.low &= right_mask.low;
#pragma clang loop unroll(disable)
	for (__u32 pass = 4; pass > 0; pass--) {
		struct wide input, output;

		if (pass == 1 && config->id_len <= config->block_len / 2)
			break;
		input = pass & 1 ? left : right;
		input.low |= config->block_len << 8 | pass;
		output = encrypted(view, config->keys, input);
		if (pass & 1) {
			right.high ^= output.high & right_mask.high;
			right.low ^= output.low & right_mask.low;
		} else {
			left.high ^= output.high & left_mask.high;
			left.low ^= output.low & left_mask.low;
		}
	}
	right = shifted_right(shifted_left(right, gap), bits & 127);
	left.high |= right.high;
	left.low |= right.low;
	block[2] = left.low >> 32;
	block[3] = left.low;
	return left.high;
}

#endif
