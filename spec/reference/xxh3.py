"""XXH3-64 and XXH3-128 with seed 0 and the default secret: h64(data), h128(data).

Written from the published algorithm. Short inputs use Python integers; the accumulation of long
ones is vectorised with numpy, since within a block of 1024 bytes it is a plain sum.
"""
import numpy as np

MASK = (1 << 64) - 1
P32_1, P32_2, P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P64_1, P64_2, P64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P64_4, P64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
MIX_1, MIX_2 = 0x165667919E3779F9, 0x9FB21C651E98DF25
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e")
STRIPE, BLOCK = 64, 1024  # a block is (192 - 64) / 8 = 16 stripes


def r32(data, at):
    return int.from_bytes(data[at:at + 4], "little")


def r64(data, at):
    return int.from_bytes(data[at:at + 8], "little")


def swap32(x):
    return int.from_bytes(x.to_bytes(4, "little"), "big")


def swap64(x):
    return int.from_bytes(x.to_bytes(8, "little"), "big")


def rotate64(x, bits):
    return (x << bits | x >> (64 - bits)) & MASK


def avalanche_xxh64(h):
    h = (h ^ h >> 33) * P64_2 & MASK
    h = (h ^ h >> 29) * P64_3 & MASK
    return h ^ h >> 32


def avalanche(h):
    h = (h ^ h >> 37) * MIX_1 & MASK
    return h ^ h >> 32


def fold(a, b):
    """The two halves of a 64 x 64 -> 128 bit product, xored."""
    product = a * b
    return (product ^ product >> 64) & MASK


def secret_pair(at):
    return r64(SECRET, at) ^ r64(SECRET, at + 8)


def mix16(data, at, secret_at):
    return fold(r64(data, at) ^ r64(SECRET, secret_at),
                r64(data, at + 8) ^ r64(SECRET, secret_at + 8))


# ---- up to 240 bytes ----------------------------------------------------------------------------

def combine_1_to_3(data):
    n = len(data)
    return data[0] << 16 | data[n >> 1] << 24 | data[n - 1] | n << 8


def h64_short(data):
    n = len(data)
    if n == 0:
        return avalanche_xxh64(secret_pair(56))
    if n <= 3:
        return avalanche_xxh64(combine_1_to_3(data) ^ r32(SECRET, 0) ^ r32(SECRET, 4))
    if n <= 8:
        h = (r32(data, n - 4) + (r32(data, 0) << 32)) ^ secret_pair(8)
        h ^= rotate64(h, 49) ^ rotate64(h, 24)
        h = h * MIX_2 & MASK
        h = (h ^ (h >> 35) + n) * MIX_2 & MASK
        return h ^ h >> 28
    low = r64(data, 0) ^ secret_pair(24)
    high = r64(data, n - 8) ^ secret_pair(40)
    return avalanche((n + swap64(low) + high + fold(low, high)) & MASK)


def h64_medium(data):
    n = len(data)
    acc = n * P64_1
    if n <= 128:
        for i in range((n - 1) // 32, -1, -1):
            acc += mix16(data, 16 * i, 32 * i) + mix16(data, n - 16 * (i + 1), 32 * i + 16)
        return avalanche(acc & MASK)
    for i in range(8):
        acc += mix16(data, 16 * i, 16 * i)
    acc = avalanche(acc & MASK)
    for i in range(8, n // 16):
        acc += mix16(data, 16 * i, 16 * (i - 8) + 3)
    return avalanche((acc + mix16(data, n - 16, 136 - 17)) & MASK)


def h128_short(data):
    n = len(data)
    if n == 0:
        return avalanche_xxh64(secret_pair(64)), avalanche_xxh64(secret_pair(80))
    if n <= 3:
        low = combine_1_to_3(data)
        high = swap32(low)
        high = (high << 13 | high >> 19) & 0xFFFFFFFF
        return (avalanche_xxh64(low ^ r32(SECRET, 0) ^ r32(SECRET, 4)),
                avalanche_xxh64(high ^ r32(SECRET, 8) ^ r32(SECRET, 12)))
    if n <= 8:
        keyed = (r32(data, 0) + (r32(data, n - 4) << 32)) ^ secret_pair(16)
        product = keyed * ((P64_1 + (n << 2)) & MASK)
        low, high = product & MASK, product >> 64
        high = high + (low << 1) & MASK
        low ^= high >> 3
        low = (low ^ low >> 35) * MIX_2 & MASK
        return low ^ low >> 28, avalanche(high)
    first, last = r64(data, 0), r64(data, n - 8)
    product = (first ^ last ^ secret_pair(32)) * P64_1
    low = (product & MASK) + ((n - 1) << 54) & MASK
    last ^= secret_pair(48)
    high = (product >> 64) + last + (last & 0xFFFFFFFF) * (P32_2 - 1) & MASK
    product = (low ^ swap64(high)) * P64_2
    return avalanche(product & MASK), avalanche((product >> 64) + high * P64_2 & MASK)


def mix32(acc, data, first, second, secret_at):
    low, high = acc
    low = (low + mix16(data, first, secret_at) & MASK) ^ (
        r64(data, second) + r64(data, second + 8) & MASK)
    high = (high + mix16(data, second, secret_at + 16) & MASK) ^ (
        r64(data, first) + r64(data, first + 8) & MASK)
    return low, high


def h128_medium(data):
    n = len(data)
    acc = (n * P64_1 & MASK, 0)
    if n <= 128:
        for i in range((n - 1) // 32, -1, -1):
            acc = mix32(acc, data, 16 * i, n - 16 * (i + 1), 32 * i)
    else:
        for i in range(4):
            acc = mix32(acc, data, 32 * i, 32 * i + 16, 32 * i)
        acc = (avalanche(acc[0]), avalanche(acc[1]))
        for i in range(4, n // 32):
            acc = mix32(acc, data, 32 * i, 32 * i + 16, 3 + 32 * (i - 4))
        acc = mix32(acc, data, n - 16, n - 32, 136 - 17 - 16)
    low = acc[0] + acc[1] & MASK
    high = acc[0] * P64_1 + acc[1] * P64_4 + n * P64_2 & MASK
    return avalanche(low), -avalanche(high) & MASK


# ---- more than 240 bytes ------------------------------------------------------------------------

def lanes(data):
    return np.frombuffer(data, "<u8").reshape(-1, 8)


def contributions(stripes, keys):
    """What each stripe adds to the eight accumulators."""
    keyed = stripes ^ keys
    added = (keyed & np.uint64(0xFFFFFFFF)) * (keyed >> np.uint64(32))
    return added + stripes[:, [1, 0, 3, 2, 5, 4, 7, 6]]


def accumulate(data):
    """The eight accumulators after all of `data`, as Python integers."""
    n = len(data)
    blocks = (n - 1) // BLOCK
    keys = np.concatenate([lanes(SECRET[8 * i:8 * i + STRIPE]) for i in range(16)])
    acc = np.array([P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1], np.uint64)
    scramble_key = lanes(SECRET[128:])[0]
    for block in range(blocks):
        stripes = lanes(data[block * BLOCK:(block + 1) * BLOCK])
        acc = acc + contributions(stripes, keys).sum(axis=0, dtype=np.uint64)
        acc = (acc ^ acc >> np.uint64(47) ^ scramble_key) * np.uint64(P32_1)
    whole = (n - 1 - blocks * BLOCK) // STRIPE
    if whole:
        stripes = lanes(data[blocks * BLOCK:blocks * BLOCK + whole * STRIPE])
        acc = acc + contributions(stripes, keys[:whole]).sum(axis=0, dtype=np.uint64)
    acc = acc + contributions(lanes(data[n - STRIPE:]), lanes(SECRET[121:121 + STRIPE]))[0]
    return [int(value) for value in acc]


def merge(acc, secret_at, start):
    for i in range(4):
        start += fold(acc[2 * i] ^ r64(SECRET, secret_at + 16 * i),
                      acc[2 * i + 1] ^ r64(SECRET, secret_at + 16 * i + 8))
    return avalanche(start & MASK)


# ---- the two hashes -----------------------------------------------------------------------------

def h64(data):
    data = bytes(data)
    if len(data) <= 16:
        return h64_short(data)
    if len(data) <= 240:
        return h64_medium(data)
    return merge(accumulate(data), 11, len(data) * P64_1)


def h128(data):
    """(low, high)"""
    data = bytes(data)
    if len(data) <= 16:
        return h128_short(data)
    if len(data) <= 240:
        return h128_medium(data)
    acc = accumulate(data)
    return (merge(acc, 11, len(data) * P64_1),
            merge(acc, 192 - STRIPE - 11, ~(len(data) * P64_2) & MASK))
