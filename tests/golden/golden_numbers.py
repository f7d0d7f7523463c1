"""Random numbers of the golden files."""


class Numbers:
    """xorshift64*: the same on every machine and in every version of Python."""

    def __init__(self, seed):
        self.state = seed * 0x9E3779B97F4A7C15 & (1 << 64) - 1

    def bits(self, count):
        x = self.state
        x ^= x >> 12
        x ^= x << 25 & (1 << 64) - 1
        self.state = x ^ x >> 27
        return (self.state * 0x2545F4914F6CDD1D & (1 << 64) - 1) >> 64 - count

    def between(self, low, high):
        return low + self.bits(40) % (high - low + 1)

    def list(self, count, low, high):
        return [self.between(low, high) for _ in range(count)]

    def index(self, _row, _column, largest, _q):
        """Mostly small indices, now and then any."""
        reach = largest if self.bits(2) == 0 else min(largest, 2)
        return self.between(-reach, reach)

    def floats(self, count, width):
        """Bits that look like weights: few exponents, any mantissa."""
        exponent_at = {16: 7, 32: 23}[width]
        return [self.bits(1) << width - 1 | self.between(115, 122) << exponent_at |
                self.bits(exponent_at) for _ in range(count)]
