# What `import nwc` gives, for type checkers: arrays of the framework that was asked for.
import os
from collections.abc import Iterable, Iterator
from types import EllipsisType
from typing import Any, Generic, Literal, TypedDict, TypeVar, overload

import numpy as np
import torch
from typing_extensions import Unpack

_Path = str | os.PathLike[str]
_NumPy = Literal["np", "numpy"]
_PyTorch = Literal["pt", "torch", "pytorch"]
_Index = int | slice | EllipsisType
_Array = TypeVar("_Array", covariant=True)

class _Options(TypedDict, total=False):
    threads: int
    io: Literal["auto", "uring", "direct", "pread", "mmap"] | None
    staging_bytes: int
    check_hashes: bool
    verify_decoded: bool
    cache_folder: _Path | None
    cache_bytes: int
    aws_sigv4: str | None
    headers: Iterable[str]
    connect_timeout_ms: int
    stall_timeout_s: int
    retries: int | None
    parallel_ranges: int

__version__: str

class NwcError(Exception):
    code: str

class CorruptFileError(NwcError):
    rule: int
    tensor: str | None
    chunk: int | None

class TensorSlice(Generic[_Array]):
    def get_shape(self) -> list[int]: ...
    def get_dtype(self) -> str: ...
    def __getitem__(self, index: _Index | tuple[_Index, ...]) -> _Array: ...

class safe_open(Generic[_Array]):
    @overload
    def __new__(
        cls, path: _Path, framework: _NumPy = "np", device: Literal["cpu"] = "cpu",
        **options: Unpack[_Options]
    ) -> safe_open[np.ndarray[Any, Any]]: ...
    @overload
    def __new__(
        cls, path: _Path, framework: _PyTorch, device: str | torch.device = "cpu",
        **options: Unpack[_Options]
    ) -> safe_open[torch.Tensor]: ...
    def __enter__(self) -> safe_open[_Array]: ...
    def __exit__(self, *_: object) -> None: ...
    def __contains__(self, name: object) -> bool: ...
    def close(self) -> None: ...
    def keys(self) -> list[str]: ...
    def get_tensor(self, name: str) -> _Array: ...
    def get_slice(self, name: str) -> TensorSlice[_Array]: ...
    def get_profile(self, name: str) -> str: ...
    def get_bits(self, name: str) -> float: ...
    def metadata(self) -> dict[str, str] | None: ...
    def file_names(self) -> list[str]: ...
    def read_file(self, name: str) -> bytes: ...


@overload
def load_file(
    path: _Path, framework: _NumPy = "np", device: Literal["cpu"] = "cpu", *,
    progress: bool = False, **options: Unpack[_Options]
) -> dict[str, np.ndarray[Any, Any]]: ...
@overload
def load_file(
    path: _Path, framework: _PyTorch, device: str | torch.device = "cpu", *,
    progress: bool = False, **options: Unpack[_Options]
) -> dict[str, torch.Tensor]: ...
@overload
def stream(
    path: _Path, *, layers: int | Iterable[int] | None = None, names: Iterable[str] | None = None,
    framework: _NumPy = "np", device: Literal["cpu"] = "cpu", progress: bool = False,
    **options: Unpack[_Options]
) -> Iterator[tuple[str, np.ndarray[Any, Any]]]: ...
@overload
def stream(
    path: _Path, *, layers: int | Iterable[int] | None = None, names: Iterable[str] | None = None,
    framework: _PyTorch, device: str | torch.device = "cpu", progress: bool = False,
    **options: Unpack[_Options]
) -> Iterator[tuple[str, torch.Tensor]]: ...
