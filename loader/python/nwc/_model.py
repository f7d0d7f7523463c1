"""An open model: what is in it, and its tensors as memory."""
from __future__ import annotations

import ctypes
import json
import os
import weakref
from collections.abc import Iterable, Iterator

from . import _library
from ._library import END, Options, Request, Slice, check, lib

_POLL_MS = 100  # between looks for Ctrl-C


class Info:
    """One tensor as the index describes it."""

    __slots__ = ("number", "name", "dtype", "shape", "rows", "columns", "profile", "bits", "layer",
                 "decoded_bytes")

    def __init__(self, number: int, native: _library.TensorInfo) -> None:
        self.number = number
        self.name: str = native.name.decode("utf-8")
        self.dtype: str = lib.nwc_dtype_name(native.dtype).decode()
        self.shape: tuple[int, ...] = tuple(native.shape[:native.dimensions])
        self.rows: int = native.rows
        self.columns: int = native.columns
        self.profile: str = native.profile.decode()
        self.bits: float = native.bits
        self.layer: int | None = native.layer if native.layer >= 0 else None
        self.decoded_bytes: int = native.decoded_bytes


class Memory:
    """Decoded bytes. ``buffer`` is a writable object of the buffer protocol, or None for no bytes;
    the memory is freed when the last object that refers to ``buffer`` is gone."""

    __slots__ = ("buffer", "size_bytes")

    def __init__(self, handle: ctypes.c_void_p) -> None:
        tensor = handle.value  # the handle serves the next tensor, too
        self.size_bytes: int = lib.nwc_tensor_bytes(tensor)
        if self.size_bytes == 0:
            lib.nwc_tensor_free(tensor)
            self.buffer = None
            return
        block = ctypes.c_ubyte * self.size_bytes
        self.buffer = block.from_address(lib.nwc_tensor_data(tensor))
        # At the interpreter's end arrays may still be in use: the system frees them then.
        weakref.finalize(self.buffer, lib.nwc_tensor_free, tensor).atexit = False


class _Handle:
    """Closes the model when the last call that uses it is over."""

    def __init__(self, value: int) -> None:
        self.value = value
        weakref.finalize(self, lib.nwc_close, value).atexit = False


def native_options(*, threads: int = 0, io: str | None = None, staging_bytes: int = 0,
                   check_hashes: bool = True, verify_decoded: bool = False,
                   cache_folder: str | os.PathLike[str] | None = None, cache_bytes: int = 0,
                   aws_sigv4: str | None = None, headers: Iterable[str] = (),
                   connect_timeout_ms: int = 0, stall_timeout_s: int = 0,
                   retries: int | None = None, parallel_ranges: int = 0) -> Options:
    """The options that every function takes; see docs/python.md."""
    lines = [line.encode() for line in headers]
    array = (ctypes.c_char_p * len(lines))(*lines)
    options = Options(
        struct_size=ctypes.sizeof(Options), io=io.encode() if io else None,
        staging_bytes=staging_bytes, threads=threads, skip_hashes=not check_hashes,
        verify_decoded=verify_decoded,
        cache_folder=os.fsencode(cache_folder) if cache_folder else None, cache_bytes=cache_bytes,
        aws_sigv4=aws_sigv4.encode() if aws_sigv4 else None, header_count=len(lines),
        connect_timeout_ms=connect_timeout_ms, stall_timeout_s=stall_timeout_s,
        retries=0 if retries is None else retries or -1, parallel_ranges=parallel_ranges)
    options.headers = ctypes.cast(array, ctypes.POINTER(ctypes.c_char_p))
    return options


class Model:
    """Immutable; for many threads."""

    def __init__(self, path: str | os.PathLike[str], options: Options) -> None:
        self._handle: _Handle | None = None
        handle, encoded = ctypes.c_void_p(), os.fsencode(path)
        if b"\0" in encoded:
            raise ValueError(f"path {path!r} has a null byte in it")
        check(lib.nwc_open(encoded, options, handle), FileNotFoundError)
        assert handle.value is not None
        self._handle = _Handle(handle.value)
        self.path = os.fsdecode(lib.nwc_model_path(handle))  # a URL without its secrets
        self.tensors = [self._describe(i) for i in range(lib.nwc_tensor_count(handle))]
        self._by_name = {info.name: info for info in self.tensors}

    def close(self) -> None:
        self._handle = None

    def _open_handle(self) -> _Handle:
        if self._handle is None:
            raise ValueError(f"{self.path}: is closed")
        return self._handle

    def _describe(self, number: int) -> Info:
        native = _library.TensorInfo(struct_size=ctypes.sizeof(_library.TensorInfo))
        check(lib.nwc_describe(self._open_handle().value, number, native))
        return Info(number, native)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def find(self, name: str) -> Info:
        """KeyError, with similar names, for an unknown one."""
        handle = self._open_handle()
        if name in self._by_name:
            return self._by_name[name]
        if "\0" not in name:
            check(lib.nwc_find(handle.value, name.encode("utf-8", "surrogatepass"),
                               ctypes.c_size_t()), KeyError)
        raise KeyError(f"{self.path}: no tensor {name!r}")

    def metadata(self) -> dict[str, str] | None:
        handle = self._open_handle()
        merged: dict[str, str] = {}
        for i in range(lib.nwc_source_count(handle.value)):
            text = lib.nwc_source_metadata(handle.value, i)
            merged.update(json.loads(text) if text else {})
        return merged or None

    def file_names(self) -> list[str]:
        handle = self._open_handle()
        return [lib.nwc_file_name(handle.value, i).decode("utf-8")
                for i in range(lib.nwc_file_count(handle.value))]

    def read_file(self, name: str) -> bytes:
        names = self.file_names()
        if name not in names:
            raise KeyError(f"{self.path}: no file {name!r}, it has: {', '.join(names) or 'none'}")
        handle, number = self._open_handle(), names.index(name)
        content = bytearray(lib.nwc_file_size(handle.value, number))
        if not content:
            return b""
        memory = (ctypes.c_char * len(content)).from_buffer(content)
        check(lib.nwc_file_read(handle.value, number, memory, len(content)))
        return bytes(content)

    def load(self, info: Info, part: Slice | None = None) -> Memory:
        """All of a tensor, or a slice of its matrix."""
        return next(self.stream([(info, part)]))[1]

    def stream(self, wanted: Iterable[tuple[Info, Slice | None]]) -> Iterator[tuple[Info, Memory]]:
        """Each request as soon as it is decoded, in their order; Ctrl-C ends it."""
        wanted = list(wanted)
        requests = (Request * max(1, len(wanted)))()
        for request, (info, part) in zip(requests, wanted):
            request.number = info.number
            request.slice = part if part is not None else Slice(0, END, 0, END)
        handle, stream, tensor = self._open_handle(), ctypes.c_void_p(), ctypes.c_void_p()
        check(lib.nwc_stream_start(handle.value, requests, len(wanted), 0, stream))
        try:
            for info, _ in wanted:
                while (code := lib.nwc_stream_next(stream, _POLL_MS, tensor)) == _library.TIMEOUT:
                    pass
                check(code)
                yield info, Memory(tensor)
        finally:
            lib.nwc_stream_free(stream)
