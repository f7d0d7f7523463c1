"""libnwc.so as ctypes sees it: the declarations of loader/nwc.h, and its errors as exceptions.

Calls through ctypes release the GIL.
"""
from __future__ import annotations

import ctypes
import errno
import os
import re

_FILE = "libnwc.so.1"
_ABI_VERSION = 1

OK, USAGE, NOT_FOUND, CORRUPT = 0, 1, 2, 3
OUT_OF_MEMORY, TIMEOUT, FINISHED = 6, 9, 10
END = 2**64 - 1  # of a slice: up to the last one

_SIZE, _CODE, _HANDLE = ctypes.c_size_t, ctypes.c_int32, ctypes.c_void_p


class Options(ctypes.Structure):
    _fields_ = [
        ("struct_size", _SIZE), ("io", ctypes.c_char_p), ("staging_bytes", ctypes.c_uint64),
        ("threads", ctypes.c_int32), ("skip_hashes", ctypes.c_uint8),
        ("verify_decoded", ctypes.c_uint8), ("reserved", ctypes.c_uint8 * 2),
        ("cache_folder", ctypes.c_char_p), ("cache_bytes", ctypes.c_uint64),
        ("aws_sigv4", ctypes.c_char_p), ("headers", ctypes.POINTER(ctypes.c_char_p)),
        ("header_count", _SIZE), ("connect_timeout_ms", ctypes.c_int32),
        ("stall_timeout_s", ctypes.c_int32), ("retries", ctypes.c_int32),
        ("parallel_ranges", ctypes.c_int32)]


class TensorInfo(ctypes.Structure):
    _fields_ = [
        ("struct_size", _SIZE), ("name", ctypes.c_char_p), ("profile", ctypes.c_char_p),
        ("shape", ctypes.c_uint64 * 8), ("rows", ctypes.c_uint64), ("columns", ctypes.c_uint64),
        ("decoded_bytes", ctypes.c_uint64), ("stored_bytes", ctypes.c_uint64),
        ("bits", ctypes.c_double), ("layer", ctypes.c_int64), ("dtype", ctypes.c_int32),
        ("dimensions", ctypes.c_int32), ("supported", ctypes.c_int32), ("linear", ctypes.c_int32)]


class Slice(ctypes.Structure):
    _fields_ = [("row_begin", ctypes.c_uint64), ("row_end", ctypes.c_uint64),
                ("column_begin", ctypes.c_uint64), ("column_end", ctypes.c_uint64)]


class Request(ctypes.Structure):
    _fields_ = [("number", _SIZE), ("slice", Slice)]


_SIGNATURES = {
    "nwc_abi_version": (ctypes.c_uint32, []),
    "nwc_version": (ctypes.c_char_p, []),
    "nwc_code_name": (ctypes.c_char_p, [_CODE]),
    "nwc_error_message": (ctypes.c_char_p, []),
    "nwc_error_rule": (ctypes.c_int32, []),
    "nwc_open": (_CODE, [ctypes.c_char_p, ctypes.POINTER(Options), ctypes.POINTER(_HANDLE)]),
    "nwc_close": (None, [_HANDLE]),
    "nwc_model_path": (ctypes.c_char_p, [_HANDLE]),
    "nwc_dtype_name": (ctypes.c_char_p, [ctypes.c_int32]),
    "nwc_tensor_count": (_SIZE, [_HANDLE]),
    "nwc_describe": (_CODE, [_HANDLE, _SIZE, ctypes.POINTER(TensorInfo)]),
    "nwc_find": (_CODE, [_HANDLE, ctypes.c_char_p, ctypes.POINTER(_SIZE)]),
    "nwc_file_count": (_SIZE, [_HANDLE]),
    "nwc_file_name": (ctypes.c_char_p, [_HANDLE, _SIZE]),
    "nwc_file_size": (ctypes.c_uint64, [_HANDLE, _SIZE]),
    "nwc_file_read": (_CODE, [_HANDLE, _SIZE, ctypes.c_void_p, _SIZE]),
    "nwc_source_count": (_SIZE, [_HANDLE]),
    "nwc_source_metadata": (ctypes.c_char_p, [_HANDLE, _SIZE]),
    "nwc_stream_start": (_CODE, [_HANDLE, ctypes.POINTER(Request), _SIZE, _SIZE,
                                 ctypes.POINTER(_HANDLE)]),
    "nwc_stream_next": (_CODE, [_HANDLE, ctypes.c_int64, ctypes.POINTER(_HANDLE)]),
    "nwc_stream_free": (None, [_HANDLE]),
    "nwc_tensor_data": (ctypes.c_void_p, [_HANDLE]),
    "nwc_tensor_bytes": (_SIZE, [_HANDLE]),
    "nwc_tensor_free": (None, [_HANDLE]),
}


class NwcError(Exception):
    """Loading failed. ``code`` names the kind: ``"unsupported"``, ``"I/O error"``, …"""

    __module__ = "nwc"
    code: str = "internal"


class CorruptFileError(NwcError):
    """The data breaks a rule of the format, or its checksum is wrong.

    ``rule`` is the rule's number in spec/format.md; ``tensor`` and ``chunk`` say where the damage
    is, and are ``None`` where it is elsewhere (in the index, say). The message says all of it.
    """

    __module__ = "nwc"

    def __init__(self, message: str, rule: int = 0, tensor: str | None = None,
                 chunk: int | None = None) -> None:
        super().__init__(message)
        self.code = "corrupt"
        self.rule = rule
        self.tensor = tensor
        self.chunk = chunk


def _load() -> ctypes.CDLL:
    beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), _FILE)
    try:
        library = ctypes.CDLL(beside if os.path.exists(beside) else _FILE)
    except OSError as error:
        raise ImportError(f"nwc cannot load its library {_FILE}: {error}; "
                          "install the package again or put the library on LD_LIBRARY_PATH"
                          ) from error
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    if (version := library.nwc_abi_version()) != _ABI_VERSION:
        raise ImportError(f"{_FILE} has ABI version {version}, expected {_ABI_VERSION}: "
                          "the package and the library are of different releases")
    return library


lib = _load()

# "<file>: tensor '<name>' chunk 3 (rows ...": see the loader's messages.
_PLACE = re.compile(r": tensor '(.*?)'(?: chunk (\d+) \(| side information at |: |$)", re.DOTALL)


def _corrupt(message: str) -> CorruptFileError:
    place = _PLACE.search(message)
    tensor = place[1] if place else None
    chunk = int(place[2]) if place and place[2] else None
    return CorruptFileError(message, lib.nwc_error_rule(), tensor, chunk)


def error_of(code: int, missing: type[Exception] = NwcError) -> Exception:
    """The exception for a code other than OK; ``missing`` is the one for NOT_FOUND."""
    message = lib.nwc_error_message().decode("utf-8", "replace")
    if code == CORRUPT:
        return _corrupt(message)
    if code == USAGE:
        return ValueError(message)
    if code == OUT_OF_MEMORY:
        return MemoryError(message)
    if code == NOT_FOUND and missing is FileNotFoundError:
        return FileNotFoundError(errno.ENOENT, message)
    if code == NOT_FOUND and missing is not NwcError:
        return missing(message)
    error = NwcError(message)
    error.code = lib.nwc_code_name(code).decode()
    return error


def check(code: int, missing: type[Exception] = NwcError) -> None:
    if code != OK:
        raise error_of(code, missing)
