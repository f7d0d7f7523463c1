"""Decoded memory as an array of a framework, without a copy."""
from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._model import Memory

# By the names of safetensors. Those of ml_dtypes, and what stands in for them without it:
_NUMPY = {"BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "U16": "uint16",
          "F16": "float16", "I32": "int32", "U32": "uint32", "F32": "float32", "F64": "float64",
          "I64": "int64", "U64": "uint64"}
_ML_DTYPES = {"BF16": ("bfloat16", "uint16"), "F8_E5M2": ("float8_e5m2", "uint8"),
              "F8_E4M3": ("float8_e4m3fn", "uint8")}
_TORCH = {"BOOL": "bool", "U8": "uint8", "I8": "int8", "F8_E5M2": "float8_e5m2",
          "F8_E4M3": "float8_e4m3fn", "I16": "int16", "U16": "uint16", "F16": "float16",
          "BF16": "bfloat16", "I32": "int32", "U32": "uint32", "F32": "float32", "F64": "float64",
          "I64": "int64", "U64": "uint64"}


class NumpyArrays:
    """framework="np"."""

    def __init__(self, device: Any) -> None:
        if str(device) != "cpu":
            raise ValueError(f'device={device!r}: NumPy arrays are on the CPU, expected "cpu"; '
                             'use framework="pt" for other devices')
        import numpy
        self._numpy = numpy
        self._dtypes: dict[str, Any] = {}

    def _dtype(self, name: str) -> Any:
        if name not in self._dtypes:
            self._dtypes[name] = self._numpy.dtype(self._find_dtype(name))
        return self._dtypes[name]

    @staticmethod
    def _find_dtype(name: str) -> Any:
        if name in _NUMPY:
            return _NUMPY[name]
        exact, bits = _ML_DTYPES[name]
        try:
            import ml_dtypes
        except ImportError:
            warnings.warn(f"NumPy has no {name}: such tensors come as their bits, {bits}; "
                          f"with the package ml_dtypes they come as {exact}", stacklevel=2)
            return bits
        return getattr(ml_dtypes, exact)

    def array(self, memory: Memory, dtype: str, shape: Sequence[int]) -> Any:
        if memory.buffer is None:
            return self.empty(dtype, shape)
        return self._numpy.frombuffer(memory.buffer, self._dtype(dtype)).reshape(shape)

    def empty(self, dtype: str, shape: Sequence[int]) -> Any:
        return self._numpy.empty(shape, self._dtype(dtype))

    def place(self, array: Any) -> Any:
        return array


class TorchArrays:
    """framework="pt"."""

    def __init__(self, device: Any) -> None:
        try:
            import torch
        except ImportError as error:
            raise ImportError('framework="pt" needs PyTorch, which cannot be imported '
                              f'({error}); install torch or use framework="np"') from error
        self._torch = torch
        self._device = torch.device(device)

    def array(self, memory: Memory, dtype: str, shape: Sequence[int]) -> Any:
        if memory.buffer is None:
            return self.empty(dtype, shape)
        kind = getattr(self._torch, _TORCH[dtype])
        return self._torch.frombuffer(memory.buffer, dtype=kind).reshape(shape)

    def empty(self, dtype: str, shape: Sequence[int]) -> Any:
        assert math.prod(shape) == 0
        return self._torch.empty(shape, dtype=getattr(self._torch, _TORCH[dtype]))

    def place(self, array: Any) -> Any:
        """On the device; no copy on the CPU."""
        return array.to(self._device)


def arrays_of(framework: str, device: Any) -> NumpyArrays | TorchArrays:
    if framework in ("np", "numpy"):
        return NumpyArrays(device)
    if framework in ("pt", "torch", "pytorch"):
        return TorchArrays(device)
    raise ValueError(f'framework={framework!r}, expected "np" or "pt"')
