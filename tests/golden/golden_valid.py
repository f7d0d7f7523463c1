"""The valid golden containers: VALID = {name: function that returns (bytes, its tensors)}."""
import encode
import golden_neural
from encode import exact_tensor, raw_tensor, stream_tensor
from encode_chunks import make_codec, nearest, side_vector
from golden_numbers import Numbers

VALID = dict(golden_neural.VALID)


def golden(function):
    VALID[function.__name__] = function
    return function


TINY = make_codec("tiny", lambda t, q: 1)
SMALL = make_codec("small", lambda t, q: min(2 + t // 8 + q, 31))
WIDE = make_codec("wide", lambda t, q: (63 if t == 41 else 127 - q) if 40 < t < 44 else 1)
PLAIN = {"codec": 0, "trellis": 2, "scale": 0.0375, "offset1": 5, "offset2": -2}


def stream_of(numbers, name, dtype, shape, codec=SMALL, nb=6, trellis=2, t=(0, 40), **options):
    """A stream tensor with random side information and indices; t: range of a + b."""
    rows, columns = shape
    spread = min(4, t[1] - t[0])
    side = (numbers.list(rows, -20, 20), numbers.list(columns, -25, 9),
            numbers.list(rows, t[0] - 5, t[1] - 5 - spread), numbers.list(columns, 5, 5 + spread))
    stream = {**PLAIN, "trellis": trellis}
    return stream_tensor(name, dtype, shape, codec, stream, side, numbers.index, nb=nb, **options)


def finish(tensors, **parts):
    return encode.container(tensors, **parts), tensors


@golden
def smallest():
    return finish([raw_tensor("w", "BF16", (2,), bytes.fromhex("803F20C0"))])


@golden
def raw_dtypes():
    numbers = Numbers(1)
    tensors = []
    for dtype, (_, size) in encode.DTYPES.items():
        data = bytes(numbers.bits(1 if dtype == "BOOL" else 8) for _ in range(15 * size))
        tensors.append(raw_tensor(f"{dtype}.weight", dtype, (5, 3), data, tile_rows=2))
    return finish(tensors)


@golden
def scalar_and_empty():
    return finish([
        raw_tensor("scalar", "F64", (), bytes.fromhex("182D4454FB210940")),
        raw_tensor("empty.columns", "F32", (4, 0), b""),
        raw_tensor("empty.rows", "I64", (0, 4), b""),
        raw_tensor("eight.dimensions", "U8", (1, 2, 1, 3, 1, 1, 1, 2), bytes(range(12))),
        exact_tensor("exact.scalar", "F32", (), [0x40490FDB]),
        exact_tensor("exact.empty", "BF16", (0,), [])])


@golden
def exact():
    numbers = Numbers(2)
    tensors = [exact_tensor("norm.weight", "BF16", (77,), numbers.floats(77, 16)),
               exact_tensor("same", "F16", (3, 32), [0x3C00] * 96),
               exact_tensor("any.bits", "F16", (50, 20), [numbers.bits(16) for _ in range(1000)]),
               exact_tensor("specials", "F32", (5,), [0, 1 << 31, 0x7F800000, 0x7FC00001, 1])]
    tensors.append(exact_tensor("tiles", "F32", (43, 17), numbers.floats(43 * 17, 32), tile_rows=8))
    return finish(tensors)


@golden
def stream_buckets():
    numbers = Numbers(3)
    tensors = []
    for dtype in ("F32", "F16", "BF16"):
        tensors.append(stream_of(numbers, f"{dtype}.64", dtype, (20, 32)))
        tensors.append(stream_of(numbers, f"{dtype}.128", dtype, (20, 32), WIDE, 7, t=(41, 41)))
        tensors.append(stream_of(numbers, f"{dtype}.256", dtype, (20, 32), WIDE, 8, t=(41, 43)))
    for tensor in tensors:
        tensor.fields["stream"]["codec"] = 0 if tensor.fields["name"].endswith(b"64") else 1
    return finish(tensors, codecs=[SMALL, WIDE])


@golden
def trellises():
    numbers = Numbers(4)
    tensors = []
    for trellis in range(3):
        tensors.append(stream_of(numbers, f"random.{trellis}", "BF16", (64, 32), trellis=trellis))
        target = [[sum(numbers.list(4, -300, 300)) / 128 for _ in range(32)] for _ in range(48)]
        side = ([0] * 48, [-8] * 32, [20] * 48, [4] * 32)
        stream = {**PLAIN, "trellis": trellis}
        tensors.append(stream_tensor(f"greedy.{trellis}", "F32", (48, 32), SMALL, stream, side,
                                     nearest(target)))
    return finish(tensors, codecs=[SMALL])


@golden
def partial_stripes():
    numbers = Numbers(5)
    shapes = ((1, 1), (9, 1), (5, 2), (6, 15), (7, 16), (7, 17), (4, 31), (4, 33), (3, 63), (1, 70))
    return finish([stream_of(numbers, f"{dtype}.{rows}x{columns}", dtype, (rows, columns))
                   for rows, columns in shapes for dtype in ("F32", "F16", "BF16")], codecs=[SMALL])


@golden
def many_tiles():
    numbers = Numbers(6)
    tensors = [stream_of(numbers, f"{dtype}.{tile[0]}x{tile[1]}", dtype, (37, 90), tile=tile)
               for dtype, tile in (("BF16", (8, 32)), ("F16", (11, 40)), ("F32", (37, 7)),
                                   ("BF16", (1, 90)))]
    return finish(tensors, codecs=[SMALL])


@golden
def exact_columns_and_patches():
    numbers = Numbers(7)
    tensors = []
    for dtype, width in (("BF16", 16), ("F16", 16), ("F32", 32)):
        exact = {0: ({0: numbers.floats(9, width), 39: numbers.floats(9, width)},
                     {at: numbers.bits(width) for at in (0, 1, 39, 40, 200, 9 * 40 - 1)}),
                 1: ({5: numbers.floats(9, width)}, {}),
                 2: ({}, {77: numbers.bits(width)}),
                 3: ({at: numbers.floats(2, width) for at in range(17)}, {})}
        tensors.append(stream_of(numbers, f"{dtype}.weight", dtype, (11, 57), tile=(9, 40),
                                 exact=exact))
    return finish(tensors, codecs=[SMALL])


@golden
def side_information():
    """a + b below 0 and above 63; vectors of one value; many widths; escapes."""
    numbers = Numbers(8)
    side = ([-512 + 64 * i for i in range(8)] + [511, 0, 1, 2], numbers.list(34, -60, -40),
            [-512, 511, -1, 63, 30, 31, 0, 64, -30, 40, 12, -7], [-40, 0, 20, 70] * 8 + [511, -512])
    tensors = []
    for width in range(0, 13, 2):
        vectors = b"".join(side_vector(vector, base=max(-512, vector[0] + i - 1), width=width)
                           for i, vector in enumerate(side))
        tensors.append(stream_tensor(f"width.{width}", "BF16", (12, 34), SMALL,
                                     {**PLAIN, "scale": 2.0 ** 20}, side, numbers.index,
                                     side_bytes=vectors))
    constant = ([3] * 12, [-11] * 34, [511] * 12, [0] * 34)
    tensors.append(stream_tensor("constant", "F32", (12, 34), SMALL, PLAIN, constant,
                                 numbers.index))
    return finish(tensors, codecs=[SMALL])


@golden
def row_gains():
    """Gains of all sizes, of one value, and on exact columns and tiles; one tensor without."""
    numbers = Numbers(11)
    tensors = []
    for name, dtype, gains in (("spread", "BF16", numbers.list(21, -40, 40)),
                               ("wide", "F32", [-512, 511] + numbers.list(19, -512, 511)),
                               ("constant", "F16", [-37] * 21), ("none", "BF16", None)):
        side = [numbers.list(21, -20, 20), numbers.list(70, -25, 9), numbers.list(21, 2, 31),
                numbers.list(70, 5, 9)]
        exact = {0: ({2: numbers.floats(8, 32 if dtype == "F32" else 16)}, {33: 7})}
        tensors.append(stream_tensor(f"{name}.weight", dtype, (21, 70), SMALL, PLAIN,
                                     side + [gains] * (gains is not None), numbers.index,
                                     tile=(8, 40), exact=exact))
    for code, scale in ((-512, 2.0 ** -36), (511, 2.0 ** 36)):
        sign = 1 if code > 0 else -1
        side = ([code] * 16, [0] * 32, [42] * 16, [1] * 32, [sign * 511] * 16)
        tensors.append(stream_tensor(f"limit.{sign}", "F32", (16, 32), WIDE,
                                     {**PLAIN, "codec": 1, "scale": scale}, side, numbers.index,
                                     nb=8))
    return finish(tensors, codecs=[SMALL, WIDE])


@golden
def rounding():
    """Ties, F16 subnormals and infinities, steps at the limits of R22."""
    numbers = Numbers(9)
    tensors = []
    for name, dtype, scale, u, w, offset in (
            ("ties.bf16", "BF16", 64.0, 0, 0, 31),
            ("ties.f16", "F16", 1.0, 0, 0, 31),
            ("subnormal.f16", "F16", 2.0 ** -21, 0, 0, -31),
            ("infinite.f16", "F16", 2.0 ** 11, 3, 2, 7),
            ("low.f32", "F32", 2.0 ** -40, -300, -176, 1),
            ("low.bf16", "BF16", 2.0 ** -40, -512, 32, 1),
            ("high.f32", "F32", 2.0 ** 40, 300, 187, 3),
            ("high.bf16", "BF16", 1.9999 * 2.0 ** 39, -12, 511, 3)):
        side = ([u] * 16, [w] * 32, [42] * 16, [1] * 32)
        stream = {**PLAIN, "scale": scale, "offset1": offset, "offset2": -offset}
        tensors.append(stream_tensor(name, dtype, (16, 32), WIDE, stream, side, numbers.index,
                                     nb=8))
    return finish(tensors, codecs=[WIDE])


@golden
def unknown_profile():
    """A tensor of an unknown profile between two that every reader loads."""
    numbers = Numbers(10)
    tensors = [raw_tensor("before", "U8", (4,), b"\1\2\3\4"),
               raw_tensor("unknown", "F16", (4, 6), bytes(range(48)), tile_rows=3, profile=200),
               stream_of(numbers, "after", "BF16", (6, 5))]
    return finish(tensors, codecs=[SMALL])


@golden
def newer_minor():
    """Version 1.7, with an index field that no version has yet."""
    tensors = [raw_tensor("w", "F32", (2, 1), bytes.fromhex("0000803F000000C0"))]
    payload, description = encode.layout(tensors)
    description["newer"] = b"a field of version 1.7"
    return encode.assemble(payload, encode.build_index(description), minor=7), tensors


@golden
def files_and_shards():
    files = [("config.json", b'{"model_type": "bert"}\n'), ("empty.txt", b""),
             ("tokenizer \u00e9.json", bytes(range(256)))]
    shards = [("model-00001-of-00002.safetensors", '{"format": "pt"}'),
              ("model-00002-of-00002.safetensors", "")]
    tensors = [raw_tensor("encodeur.\u00e9.weight", "I16", (3,), b"abcdef"),
               raw_tensor("\U0001F9EE", "U8", (1, 1), b"x")]
    tensors[0].fields["shard"] = 1
    return finish(tensors, files=files, shards=shards)
