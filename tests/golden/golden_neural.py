"""The valid golden containers of profile nwc: VALID = {name: function -> (bytes, its tensors)}."""
import encode
from encode import neural_tensor, raw_tensor
from encode_neural import make_neural_codec
from golden_numbers import Numbers

VALID = {}
PLAIN = {"codec": 0, "scale": 0.0375}


def golden(function):
    VALID[function.__name__] = function
    return function


# ---- codecs -------------------------------------------------------------------------------------

def table(count, ratio=0.7):
    """Frequencies that fall from the middle to both sides; the escape is as rare as can be."""
    middle = (count - 2) // 2
    weights = [ratio ** abs(s - middle) for s in range(count - 1)]
    result = [max(1, int((4095 - count) * w / sum(weights))) for w in weights] + [1]
    result[middle] += 4096 - sum(result)
    return -middle, result


def tables(settings, counts):
    """One for each quality and latent; the counts of symbols take turns."""
    total = settings["qualities"] * settings["latents"]
    return [table(counts[i % len(counts)]) for i in range(total)]


def usual(numbers):
    """Parameters as a trained net has them: weights near 1 / sqrt(inputs), gains near 1."""
    def parameter(name, shape):
        count = 1
        for size in shape:
            count *= size
        middle = 1 if name in ("gain", "embedding") else 0
        reach = shape[-1] ** -0.5 * 1.7 if name.endswith("weight") else 0.3
        return [middle + reach * numbers.between(-999, 999) / 1000 for _ in range(count)]
    return parameter


def codec_of(seed, name, counts, **settings):
    return make_neural_codec(name, settings, tables(settings, counts), usual(Numbers(seed)))


THIN = codec_of(40, "thin", (9, 2, 64, 65, 3, 700, 1024, 33), chunk=4, latents=4, width=16,
                blocks=2, qualities=4)


class Latents:
    """latent() of neural_tensor: mostly small, now and then any, so that some escape."""

    def __init__(self, seed, rare=5):
        self.numbers, self.rare = Numbers(seed), rare

    def __call__(self, _latent, _row, _column):
        if self.numbers.bits(self.rare) == 0:
            return self.numbers.between(-32768, 32767)
        return self.numbers.between(-3, 3)


def random_side(numbers, columns, qualities):
    return numbers.list(columns, -12, 12), numbers.list(columns, 0, qualities - 1)


def neural_of(seed, name, dtype, shape, codec, number=0, **options):
    numbers = Numbers(seed)
    side = random_side(numbers, shape[1], codec.settings.qualities)
    return neural_tensor(name, dtype, shape, codec, {**PLAIN, "codec": number}, side,
                         Latents(seed + 1), **options)


def finish(tensors, codecs):
    return encode.container(tensors, neural_codecs=codecs), tensors


# ---- containers ---------------------------------------------------------------------------------

@golden
def neural_thin():
    """Ragged rows, columns and tiles, escapes of both kinds."""
    numbers = Numbers(41)
    exact = {0: {0: numbers.floats(4, 32), 38: numbers.floats(4, 32), 110: numbers.floats(3, 32)}}
    tensors = [
        neural_of(42, "f32", "F32", (11, 37), THIN, exact=exact),
        raw_tensor("between", "U8", (3,), b"abc"),
        neural_of(44, "bf16", "BF16", (23, 71), THIN, tile=(8, 40),
                  exact={1: {30: numbers.floats(4, 16)}, 4: {0: numbers.floats(4, 16)}}),
        neural_of(46, "f16", "F16", (1, 1), THIN)]
    constant = ([-3] * 64, [2] * 64)
    tensors.append(neural_tensor("constant", "BF16", (12, 64), THIN, PLAIN, constant,
                                 Latents(48, rare=30)))
    return finish(tensors, [THIN])


@golden
def neural_published_chunk():
    """Chunks of 16 weights and latents, 4 blocks and 4 qualities; a narrow net."""
    codec = codec_of(50, "narrow", (17, 33, 9), chunk=16, latents=16, width=48, blocks=4,
                     qualities=4)
    tensors = [neural_of(51, "bf16", "BF16", (40, 34), codec),
               neural_of(53, "f32", "F32", (32, 33), codec)]
    return finish(tensors, [codec])


@golden
def neural_shapes():
    """Nets at the edges of the settings; widths beside multiples of 3 and beyond 128."""
    shapes = ((1, 1, 1, 0, 1), (64, 1, 5, 1, 1), (1, 64, 3, 0, 2), (5, 7, 131, 1, 16),
              (3, 2, 130, 1, 9), (2, 3, 10, 8, 3))
    codecs, tensors = [], []
    for i, (chunk, latents, width, blocks, qualities) in enumerate(shapes):
        codecs.append(codec_of(60 + i, f"net{i}", (5, 40, 2), chunk=chunk, latents=latents,
                               width=width, blocks=blocks, qualities=qualities))
        tensors.append(neural_of(70 + 2 * i, f"w{i}", ("F32", "BF16", "F16")[i % 3], (6, 35),
                                 codecs[i], number=i))
    return finish(tensors, codecs)


@golden
def neural_not_finite():
    """Infinities, NaNs, subnormal results: what no encoder leaves standing, the same everywhere."""
    def growing(name, shape):
        count = shape[0] * (shape[1] if len(shape) == 2 else 1)
        values = {"embedding": 65504.0, "gain": 1.0, "in_weight": 1.0}
        if name in ("weight", "out_weight"):
            return [(-1.0) ** i * 60000 for i in range(count)]
        return [values.get(name, 0.25)] * count

    def fading(name, shape):
        count = shape[0] * (shape[1] if len(shape) == 2 else 1)
        return [2.0 ** -24 if name != "gain" else 1.0] * count

    settings = {"chunk": 2, "latents": 2, "width": 4, "blocks": 8, "qualities": 1}
    codecs = [make_neural_codec(name, settings, tables(settings, (5,)), parameter)
              for name, parameter in (("growing", growing), ("fading", fading))]
    tensors = []
    for number, codec in enumerate(codecs):
        for dtype in ("F32", "BF16", "F16"):
            tensors.append(neural_of(90 + number, f"{codec.name}.{dtype}", dtype, (4, 33), codec,
                                     number=number))
    return finish(tensors, codecs)
