"""The functions of the package."""
from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from ._arrays import NumpyArrays, TorchArrays, arrays_of
from ._model import Info, Model, native_options
from ._progress import Progress
from ._slicing import part_of



class TensorSlice:
    """A tensor of which parts can be loaded: ``f.get_slice(name)[0:64, 128:256]``.

    An index of integers, slices with positive steps and ``...`` gives what the same index gives on
    the whole tensor. Ranges of the first two dimensions read only the chunks of the file they
    touch.
    """

    def __init__(self, model: Model, info: Info, arrays: NumpyArrays | TorchArrays) -> None:
        self._model = model
        self._info = info
        self._arrays = arrays

    def get_shape(self) -> list[int]:
        """Of the whole tensor."""
        return list(self._info.shape)

    def get_dtype(self) -> str:
        """As in safetensors: ``"BF16"``, ``"F32"``, …"""
        return self._info.dtype

    def __getitem__(self, index: Any) -> Any:
        part = part_of(self._info, index)
        if 0 in part.result_shape or 0 in part.shape:
            return self._arrays.place(self._arrays.empty(self._info.dtype, part.result_shape))
        memory = self._model.load(self._info, part.native)
        box = self._arrays.array(memory, self._info.dtype, part.shape)
        return self._arrays.place(box[part.taken])


class safe_open:  # noqa: N801: the name safetensors has
    """Opens a model and loads its tensors one by one.

    ``framework``: ``"np"`` or ``"pt"``; ``device``: where PyTorch tensors go, ``"cpu"`` or any
    other that ``torch.device`` knows (those are copied there). A context manager; methods may be
    called by many threads at once, and raise ``ValueError`` once it is closed.

    Raises ``FileNotFoundError``, ``CorruptFileError``, ``NwcError``, ``ValueError``; ``ImportError``
    when the framework is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], framework: str = "np", device: Any = "cpu",
                 **options: Any) -> None:
        self._arrays = arrays_of(framework, device)
        self._model = Model(path, native_options(**options))

    def __enter__(self) -> safe_open:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Tensors that were loaded stay valid."""
        self._model.close()

    def keys(self) -> list[str]:
        """Names of all tensors, in file order."""
        return [info.name for info in self._model.tensors]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._model

    def get_tensor(self, name: str) -> Any:
        """All of a tensor: of its shape and dtype, row-major.

        NumPy has no BF16 and no 8-bit floats: with the package ``ml_dtypes`` they come as its
        types, without it as their bits (``uint16``, ``uint8``), and a warning says so once.

        Raises ``KeyError`` (with similar names), ``CorruptFileError``, ``NwcError``.
        """
        info = self._model.find(name)
        memory = self._model.load(info)
        return self._arrays.place(self._arrays.array(memory, info.dtype, info.shape))

    def get_slice(self, name: str) -> TensorSlice:
        """A tensor to be indexed; nothing is read yet. Raises ``KeyError``."""
        return TensorSlice(self._model, self._model.find(name), self._arrays)

    def get_profile(self, name: str) -> str:
        """How a tensor is stored: ``"raw"``, ``"exact"``, ``"stream"``, ``"nwc"``, ``"unknown"``."""
        return self._model.find(name).profile

    def get_bits(self, name: str) -> float:
        """Stored bits an element."""
        return self._model.find(name).bits

    def metadata(self) -> dict[str, str] | None:
        """``__metadata__`` of the safetensors files that were packed, or None."""
        return self._model.metadata()

    def file_names(self) -> list[str]:
        """Files of the checkpoint that travel along, as ``config.json``."""
        return self._model.file_names()

    def read_file(self, name: str) -> bytes:
        """One of them, checked. Raises ``KeyError``, ``CorruptFileError``."""
        return self._model.read_file(name)



def load_file(path: str | os.PathLike[str], framework: str = "np", device: Any = "cpu", *,
              progress: bool = False, **options: Any) -> dict[str, Any]:
    """All tensors by name, in file order. ``progress``: a bar on stderr (needs tqdm).

    Raises what ``safe_open`` and ``get_tensor`` raise.
    """
    return dict(stream(path, framework=framework, device=device, progress=progress, **options))


def stream(path: str | os.PathLike[str], *, layers: int | Iterable[int] | None = None,
           names: Iterable[str] | None = None, framework: str = "np", device: Any = "cpu",
           progress: bool = False, **options: Any) -> Iterator[tuple[str, Any]]:
    """Yields (name, tensor) as soon as each is decoded, while the next ones are being read.

    ``layers``: numbers, as the first one between dots in a name ("model.layers.11.mlp" is 11);
    ``names``: tensors. Either selects, both together what is in one or the other; neither, all.
    The order is that of the file, or that of ``names`` where only these are given. The model is
    opened, and what is asked for is checked, before this returns.

    Raises what ``safe_open`` raises, ``KeyError`` for an unknown name and ``ValueError`` for a
    layer that is not there; while it runs ``CorruptFileError`` and ``NwcError``. Leaving the loop
    early stops the load.
    """
    arrays = arrays_of(framework, device)
    model = Model(path, native_options(**options))
    wanted = _select(model, layers, names)
    bar = Progress(progress, os.path.basename(model.path), sum(i.decoded_bytes for i in wanted))
    return _run(model, wanted, arrays, bar)


def _run(model: Model, wanted: list[Info], arrays: NumpyArrays | TorchArrays,
         bar: Progress) -> Iterator[tuple[str, Any]]:
    with bar:
        for info, memory in model.stream((info, None) for info in wanted):
            array = arrays.place(arrays.array(memory, info.dtype, info.shape))
            bar.advance(info.decoded_bytes)
            del memory  # the array owns it
            yield info.name, array
            del array


def _select(model: Model, layers: int | Iterable[int] | None,
            names: Iterable[str] | None) -> list[Info]:
    if isinstance(names, str):
        raise ValueError(f"names={names!r}: expected a list of names")
    named = [model.find(name) for name in names] if names is not None else []
    if layers is None:
        return model.tensors if names is None else named
    numbers = {layers} if isinstance(layers, int) else set(layers)
    there = {info.layer for info in model.tensors if info.layer is not None}
    if missing := sorted(numbers - there):
        known = f"{min(there)} to {max(there)}" if there else "none"
        raise ValueError(f"{model.path}: no layers {missing}, there are: {known}")
    chosen = {info.name for info in named}
    return [info for info in model.tensors if info.name in chosen or info.layer in numbers]
