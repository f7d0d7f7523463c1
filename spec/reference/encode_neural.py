"""Writes codecs, side information and chunks of profile nwc (codec.md 10 to 12), for tests."""
import struct
from types import SimpleNamespace

import numpy as np

from codec import ELEMENTS, to_dtype
from encode_chunks import encode_lines, lanes, pad4, side_vector, slots_of_symbols
from neural import bucket_bits, chunk_slice, parameter_shapes, synthesise_tile


def make_neural_codec(name, settings, tables, parameter):
    """tables: (lowest, frequencies) of each quality and latent; parameter(name, shape): floats."""
    codec = SimpleNamespace(name=name, settings=SimpleNamespace(**settings), net={},
                            lowest=[lowest for lowest, _ in tables],
                            tables=[tuple(frequencies) for _, frequencies in tables])
    codec.blocks = [{} for _ in range(codec.settings.blocks)]
    for block, field, shape in parameter_shapes(codec.settings):
        values = np.array(parameter(field, shape), np.float16).astype(np.float32).reshape(shape)
        (codec.net if block is None else codec.blocks[block])[field] = values
    return codec


def neural_codec_bytes(codec):
    data = b"".join(struct.pack("<hH", lowest, len(table))
                    for lowest, table in zip(codec.lowest, codec.tables))
    data += b"".join(np.array(table, "<u2").tobytes() for table in codec.tables)
    for block, name, _ in parameter_shapes(codec.settings):
        values = (codec.net if block is None else codec.blocks[block])[name]
        data += values.astype("<f2").tobytes()
    return data


def neural_chunk(y, quality, codec, dtype, rows, exact=None, last_states=(1 << 16,) * 32):
    """The chunk of a tile: y[latent, chunk row, column]; exact: {number of a chunk: elements}."""
    exact = exact or {}
    count, chunk_rows, columns = y.shape
    lines, escapes = [], []
    for left in range(0, columns, 32):
        active = [(lane, left + at) for lane, at in lanes(columns - left)]
        for row in range(chunk_rows):
            for latent in range(count):
                line = []
                for lane, column in active:
                    at = int(quality[column]) * count + latent
                    table, value = codec.tables[at], int(y[latent, row, column])
                    symbol = value - codec.lowest[at]
                    if not 0 <= symbol < len(table) - 1:
                        symbol = len(table) - 1
                        escapes.append(value)
                    coder = slots_of_symbols(table, bucket_bits(len(table)))
                    line.append((lane, coder, symbol))
                lines.append(line)
    states, words = encode_lines(lines, last_states)
    data = struct.pack("<III", len(words), len(escapes), len(exact))
    data += np.array(states, "<u4").tobytes() + np.array(words, "<u2").tobytes()
    data = pad4(data + np.array(escapes, "<i2").tobytes())
    data += np.array(sorted(exact), "<u4").tobytes()
    for number in sorted(exact):
        place, _ = chunk_slice(number, columns, codec.settings.chunk, rows)
        assert len(exact[number]) == place.stop - place.start
        data += np.array(exact[number], ELEMENTS[dtype]).tobytes()
    return pad4(data)


def decoded_neural_tile(y, w, quality, codec, scale, dtype, rows, exact=None):
    """What neural_chunk's result decodes to."""
    bits = to_dtype(synthesise_tile(codec, y, w, quality, rows, scale), dtype)
    for number, elements in (exact or {}).items():
        bits[chunk_slice(number, y.shape[2], codec.settings.chunk, rows)] = elements
    return bits.astype(ELEMENTS[dtype])


def neural_side(w, quality):
    return side_vector(w) + side_vector(quality)
