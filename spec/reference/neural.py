"""Profile nwc, in the order of codec.md 10 to 12: a net turns latents into chunks of weights."""
import math
from types import SimpleNamespace

import numpy as np

from codec import (ELEMENTS, POSITION, Parts, Rans, alias_table, ascending, read_vectors, require,
                   step, to_dtype)

LIMITS = {"chunk": (1, 64), "latents": (1, 64), "width": (1, 1024), "blocks": (0, 8),
          "qualities": (1, 16)}


# ==== codec.md 10: neural codec ==================================================================

def parameter_shapes(s):
    """(block or None, name, shape) of all parameters, in stored order."""
    yield None, "in_weight", (s.width, s.latents)
    yield None, "in_bias", (s.width,)
    for block in range(s.blocks):
        yield block, "weight", (s.width, s.width)
        for name in ("bias", "gain", "shift"):
            yield block, name, (s.width,)
        yield block, "embedding", (s.qualities, s.width)
    yield None, "out_weight", (s.chunk, s.width)
    yield None, "out_bias", (s.chunk,)


def stored_words(s, count):
    """16-bit words of a codec all of whose tables have `count` symbols."""
    parameters = sum(math.prod(shape) for _, _, shape in parameter_shapes(s))
    return s.qualities * s.latents * (2 + count) + parameters


def check_settings(s):
    """Whether the settings are in range and the extent can hold such a codec (R32)."""
    return (all(low <= getattr(s, name) <= high for name, (low, high) in LIMITS.items()) and
            2 * stored_words(s, 2) <= s.extent.size <= 2 * stored_words(s, 1024))


def bucket_bits(count):
    return max(6, (count - 1).bit_length())


def read_codec(data, s):
    """Parameters as float32 arrays by name, those of blocks in `blocks`; tables by position."""
    parts = Parts(data, 35)
    headers = parts.take("<u2", 2 * s.qualities * s.latents).reshape(-1, 2)
    counts = headers[:, 1].tolist()
    require(all(2 <= count <= 1024 for count in counts), 35, "symbols of a table")
    codec = SimpleNamespace(settings=s, tables=[], blocks=[{} for _ in range(s.blocks)])
    codec.lowest = headers[:, 0].astype(np.int16).tolist()
    for count in counts:
        table = tuple(parts.take("<u2", count).tolist())
        require(min(table) >= 1 and sum(table) == 4096, 35, "frequencies of a table")
        codec.tables.append(table)
    codec.net = {}
    for block, name, shape in parameter_shapes(s):
        values = parts.take("<f2", math.prod(shape)).astype(np.float32).reshape(shape)
        require(np.isfinite(values).all(), 35, f"{name} is not finite")
        (codec.net if block is None else codec.blocks[block])[name] = values
    parts.end()
    return codec


# ==== codec.md 11: synthesis =====================================================================

def fma(a, b, c):
    """float32 a * b + c, rounded once. The product is exact in double precision; its sum with c is
    rounded to odd there, after which rounding to single gives what one rounding would."""
    with np.errstate(all="ignore"):
        product = a.astype(np.float64) * b
        c = c.astype(np.float64)
        total = product + c
        back = total - product
        error = (product - (total - back)) + (c - back)
        bits = total.view(np.int64)
        away = np.where((error > 0) == (total > 0), 1, -1)
        adjust = (error != 0) & (bits & 1 == 0) & np.isfinite(total)
        return np.where(adjust, bits + away, bits).view(np.float64).astype(np.float32)


def dot(weight, bias, x):
    """x[input, vector] -> [output, vector], in the order of the format"""
    total = np.repeat(bias[:, None], x.shape[1], axis=1)
    for i in range(x.shape[0]):
        total = fma(weight[:, i, None], x[i], total)
    return total


def ordered_sum(x):
    total = np.zeros(x.shape[1], np.float32)
    for row in x:
        total = total + row
    return total


def normalise(h, gain, shift):
    """LayerNorm over the first axis."""
    width = np.float32(len(h))
    d = h - ordered_sum(h) / width
    variance = ordered_sum(d * d) / width
    inverse = np.float32(1) / np.sqrt(variance + np.float32(1e-5))
    return fma(d * inverse, gain[:, None], np.broadcast_to(shift[:, None], h.shape))


def synthesise(codec, y, quality, product=dot, norm=normalise):
    """g[k, vector] of integer latents y[latent, vector] and the quality of each vector. Other
    arithmetic may take the place of dot and normalise."""
    with np.errstate(all="ignore"):
        x = product(codec.net["in_weight"], codec.net["in_bias"], y.astype(np.float32))
        for block in codec.blocks:
            z = norm(product(block["weight"], block["bias"], x), block["gain"], block["shift"])
            x = (x + np.where(z > 0, z, 0).astype(z.dtype)) * block["embedding"][quality].T
        return product(codec.net["out_weight"], codec.net["out_bias"], x)


def values_of(g, scale, w):
    """float32 weights from the net's outputs g[..., column] and column codes w."""
    with np.errstate(all="ignore"):
        values = g * (np.float32(scale) * step(w))
    values.view(np.uint32)[np.isnan(values)] = 0x7FC00000
    return values


# ==== codec.md 6 and 12: side information, chunks ================================================

def read_neural_side(data, columns, scale, qualities):
    """column_scale w, column_quality q"""
    w, q = read_vectors(data, (columns, columns))
    require(0 <= min(q) and max(q) < qualities, 22, "a quality out of range")
    exponent = math.frexp(scale)[1] - 1
    require(exponent + int(min(w)) // 8 >= -100 and exponent + int(max(w)) // 8 <= 100, 22,
            "products of steps")
    return w, q


def decode_latents(rans, escapes, codec, quality, chunk_rows):
    """y[latent, chunk row, column]"""
    s = codec.settings
    bits = np.array([bucket_bits(len(table)) for table in codec.tables])
    tables = np.zeros((4, len(bits), 1 << bits.max()), np.int64)
    for at, table in enumerate(codec.tables):
        tables[:, at, :1 << bits[at]] = alias_table(table, int(bits[at]))
    lowest, last = np.array(codec.lowest), np.array([len(t) - 1 for t in codec.tables])
    y, taken = np.zeros((s.latents, chunk_rows, len(quality)), np.int64), 0
    for left in range(0, len(quality), 32):
        active = np.flatnonzero(POSITION < len(quality) - left)
        columns = left + POSITION[active]
        for row in range(chunk_rows):
            for latent in range(s.latents):
                at = quality[columns] * s.latents + latent
                symbol = rans.line(active, tables, at, bits[at])
                value, escaped = lowest[at] + symbol, np.flatnonzero(symbol == last[at])
                require(taken + len(escaped) <= len(escapes), 37, "latent escapes are missing")
                value[escaped] = escapes[taken:taken + len(escaped)]
                taken += len(escaped)
                y[latent, row, columns] = value
    rans.end()
    require(taken == len(escapes), 37, "latent escapes are left over")
    return y


def synthesise_tile(codec, y, w, quality, rows, scale):
    """float32 weights of a tile: chunk row after chunk row, without the surplus"""
    s = codec.settings
    chunk_rows, columns = y.shape[1:]
    g = synthesise(codec, y.reshape(s.latents, -1), np.tile(quality, chunk_rows))
    g = g.reshape(s.chunk, chunk_rows, columns).transpose(1, 0, 2).reshape(-1, columns)
    return values_of(np.ascontiguousarray(g[:rows]), scale, w)


def chunk_slice(number, columns, chunk, rows):
    """The rows and the column of chunk `number` of a tile."""
    row, column = divmod(int(number), columns)
    return slice(row * chunk, min(row * chunk + chunk, rows)), column


def decode_nwc(data, dtype, neural, codec, side, rows):
    """Bytes of a tile; `side` holds w and q of its columns."""
    w, quality = side
    s, n, element = codec.settings, len(w), ELEMENTS[dtype]
    chunk_rows = -(-rows // s.chunk)
    parts = Parts(data, 36)
    words, latent_escapes, exact_chunks = parts.take("<u4", 3).tolist()
    require(latent_escapes <= chunk_rows * n * s.latents and exact_chunks <= chunk_rows * n, 36,
            "header of an nwc chunk")
    states, words = parts.take("<u4", 32), parts.take("<u2", words)
    escapes = parts.take("<i2", latent_escapes)
    parts.pad()
    ids = parts.take("<u4", exact_chunks)
    require(ascending(ids, chunk_rows * n), 25, "exact chunks are not ascending inside the tile")
    places = [chunk_slice(number, n, s.chunk, rows) for number in ids]
    exact = [parts.take(element, place[0].stop - place[0].start) for place in places]
    parts.pad()
    parts.end()
    y = decode_latents(Rans(states, words), escapes, codec, quality, chunk_rows)
    bits = to_dtype(synthesise_tile(codec, y, w, quality, rows, neural.scale), dtype)
    for place, elements in zip(places, exact):
        bits[place] = elements
    return bits.astype(element).tobytes()
