"""QUIC-LB as draft-ietf-quic-load-balancers-21 words it, to compare the product with.

Owns a second opinion: written from the draft's text and its errata, on hexadecimal digits where the product
uses integers. Must not import the product.
"""

from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

UNROUTABLE = 0b111


@dataclass(frozen=True)
class Config:
    """One configuration; `cid_len` counts every octet of a connection ID."""

    id: int
    server_id_len: int
    nonce_len: int
    key: bytes | None = None
    first_octet: str = "self-described"
    cid_len: int | None = None

    @property
    def block_len(self) -> int:
        """Octets of server ID and nonce."""
        return self.server_id_len + self.nonce_len

    @property
    def length(self) -> int:
        """Octets of a connection ID."""
        return 1 + self.block_len if self.cid_len is None else self.cid_len

    def is_legal(self) -> bool:
        """Whether the draft and QUIC version 1 allow it."""
        return (
            0 <= self.id < UNROUTABLE
            and self.server_id_len >= 1
            and self.nonce_len >= 4
            and 1 + self.block_len <= self.length <= 20
        )


def encode(config: Config, server_id: bytes, nonce: bytes, random: bytes) -> bytes:
    """The connection ID for a nonce; `random` gives the octets that are nothing else."""
    low_bits = {"self-described": config.length - 1, "random": random[0] % 32, "zero": 0}[config.first_octet]
    block = server_id + nonce
    if config.key is not None:
        block = encrypt(config.key, block)
    filling = random[1 + config.block_len : config.length]
    return bytes([config.id * 32 + low_bits]) + block + filling


def decode(configs: list[Config], octets: bytes, *, long_header: bool) -> tuple[int, bytes] | str:
    """Codepoint and server ID, or why there is none."""
    if not octets:
        return "too short"
    if octets[0] // 32 == UNROUTABLE:
        return "reserved codepoint"
    config = next((config for config in configs if config.id == octets[0] // 32), None)
    if config is None:
        return "unknown configuration"
    if long_header and config.first_octet == "self-described" and octets[0] % 32 != len(octets) - 1:
        return "wrong length"
    block = octets[1 : 1 + config.block_len]
    if len(block) < config.block_len:
        return "too short"
    if config.key is not None:
        block = decrypt(config.key, block)
    return config.id, block[: config.server_id_len]


def encrypt(key: bytes, block: bytes) -> bytes:
    """One pass for 16 octets, four for any other number."""
    if len(block) == 16:
        return aes(key, block)
    return four_passes(key, block)


def four_passes(key: bytes, block: bytes) -> bytes:
    """The general case: right, left, right, left."""
    left, right = split(block)
    right = combine(key, block, 1, left, right)
    left = combine(key, block, 2, right, left)
    right = combine(key, block, 3, left, right)
    left = combine(key, block, 4, right, left)
    return join(block, left, right)


def decrypt(key: bytes, block: bytes) -> bytes:
    """All passes undone, whether or not the server ID needs the last."""
    if len(block) == 16:
        decryptor = Cipher(algorithms.AES(key), modes.ECB()).decryptor()
        return decryptor.update(block) + decryptor.finalize()
    left, right = split(block)
    left = combine(key, block, 4, right, left)
    right = combine(key, block, 3, left, right)
    left = combine(key, block, 2, right, left)
    right = combine(key, block, 1, left, right)
    return join(block, left, right)


def aes(key: bytes, block: bytes) -> bytes:
    """One block of AES-128."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return encryptor.update(block) + encryptor.finalize()


def split(block: bytes) -> tuple[str, str]:
    """Both halves in digits; for an odd number of octets the cleared nibble is a 0 at the inner end."""
    digits, pad = block.hex(), "0" * (len(block) % 2)
    return digits[: len(block)] + pad, pad + digits[len(block) :]


def join(block: bytes, left: str, right: str) -> bytes:
    """The halves together, without the cleared nibbles."""
    odd = len(block) % 2
    return bytes.fromhex(left[: len(block)] + right[odd:])


def combine(key: bytes, block: bytes, number: int, from_half: str, into_half: str) -> str:
    """One pass: expand, encrypt, truncate, XOR, clear. Odd passes change the right half."""
    half_len = len(from_half) // 2
    expanded = bytes.fromhex(from_half) + bytes(14 - half_len) + bytes([len(block), number])
    mask = aes(key, expanded)[:half_len]
    mixed = bytes(a ^ b for a, b in zip(bytes.fromhex(into_half), mask, strict=True)).hex()
    if len(block) % 2 == 0:
        return mixed
    return "0" + mixed[1:] if number % 2 else mixed[:-1] + "0"


def counted_nonce(config: Config, seed: bytes, used: int) -> bytes | None:
    """The nonce after `used` others: a counter from a random start, scrambled if nothing hides it."""
    if used >= min(256**config.nonce_len, 2**64 - 1):
        return None
    counter = (int.from_bytes(seed[:16]) + used) % 2**128 % 256**config.nonce_len
    nonce = counter.to_bytes(config.nonce_len)
    return nonce if config.key is not None else four_passes(seed[16:], nonce)
