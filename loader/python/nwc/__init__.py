"""Loads the weights of neural networks from NWC files (.nwc).

    with nwc.safe_open("model.nwc", framework="pt") as f:
        rows = f.get_slice("lm_head.weight")[0:64, :]
    tensors = nwc.load_file("model.nwc", framework="np")
    for name, tensor in nwc.stream("model.nwc", layers=range(4), framework="pt"):
        ...

Tensors are decoded with the GIL released, into memory that the returned array or tensor owns: it
stays valid when the file is closed, is never used again for another tensor, and may be written to.
``framework`` is ``"np"`` (NumPy) or ``"pt"`` (PyTorch, imported only then).

A path is a container, a set of containers (its ``.nwc.index.json``, one of its shards, or a folder
that holds it) or an http(s) URL of either. Every function takes the options of docs/python.md
(``threads``, ``io``, ``cache_folder``, …) as keywords.

Errors: ``FileNotFoundError`` for a path that is not there, ``KeyError`` for an unknown tensor,
``ValueError`` for impossible arguments, ``CorruptFileError`` for damaged data, ``MemoryError``, and
``NwcError`` for the rest.
"""
from __future__ import annotations

from ._library import CorruptFileError, NwcError, lib
from ._open import TensorSlice, load_file, safe_open, stream

__version__: str = lib.nwc_version().decode()

__all__ = ["CorruptFileError", "NwcError", "TensorSlice", "__version__", "load_file",
           "safe_open", "stream"]
