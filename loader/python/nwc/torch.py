"""Loads the weights of a packed model into a PyTorch module.

    missing, unexpected = nwc.torch.load_model(model, "model.nwc")
"""
from __future__ import annotations

import os
from typing import Any

import torch

from ._open import stream

__all__ = ["load_model"]


def load_model(model: torch.nn.Module, path: str | os.PathLike[str], strict: bool = True, *,
               assign: bool = False, progress: bool = False,
               **options: Any) -> tuple[list[str], list[str]]:
    """Loads ``path`` into ``model``, tensor by tensor; as ``safetensors.torch.load_model``.

    Each tensor is copied into its parameter or buffer, and so takes its dtype and device.
    ``assign``: the parameter becomes the decoded memory itself, with the dtype of the file, on the
    CPU; always so for parameters on the device ``meta``. Tied parameters stay tied.

    Returns the names that the file lacks (but for tied ones that it has under another name) and the
    names that the model lacks. ``strict``: either is a ``RuntimeError``, once all else is loaded.
    Also a ``RuntimeError``: a shape that differs. Further errors: those of ``nwc.stream``; the
    model is then loaded in part.
    """
    places = _places(model)
    loaded: set[int] = set()  # places
    unexpected: list[str] = []
    for name, tensor in stream(path, framework="pt", progress=progress, **options):
        place = places.get(name)
        if place is None:
            unexpected.append(name)
            continue
        place.set(name, tensor, assign)
        loaded.add(id(place))
    missing = [name for name, place in places.items() if id(place) not in loaded]
    if strict and (missing or unexpected):
        raise RuntimeError(f"the file does not fit {type(model).__name__}: missing {missing}, "
                           f"unexpected {unexpected}; with strict=False the rest is loaded")
    return missing, unexpected


class _Place:
    """One parameter or buffer, with every module and name that holds it."""

    def __init__(self, value: torch.Tensor) -> None:
        self.value = value
        self.holders: list[tuple[torch.nn.Module, str]] = []

    def set(self, name: str, tensor: torch.Tensor, assign: bool) -> None:
        if tensor.shape != self.value.shape:
            raise RuntimeError(f"{name}: the file has shape {tuple(tensor.shape)}, the model "
                               f"{tuple(self.value.shape)}")
        if not assign and not self.value.is_meta:
            with torch.no_grad():
                self.value.copy_(tensor)
            return
        new: torch.Tensor = tensor
        if isinstance(self.value, torch.nn.Parameter):
            trains = self.value.requires_grad and tensor.is_floating_point()
            new = torch.nn.Parameter(tensor, requires_grad=trains)
        for module, attribute in self.holders:
            setattr(module, attribute, new)
        self.value = new


def _places(model: torch.nn.Module) -> dict[str, _Place]:
    """By the names of model.state_dict(); names of one tensor have one place."""
    wanted = model.state_dict(keep_vars=True)
    by_tensor: dict[int, _Place] = {}
    places: dict[str, _Place] = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        own = {**module._parameters, **module._buffers}
        for attribute, value in own.items():
            name = f"{prefix}.{attribute}" if prefix else attribute
            if value is None or name not in wanted:
                continue
            place = by_tensor.setdefault(id(value), _Place(value))
            place.holders.append((module, attribute))
            places[name] = place
    return {name: places[name] for name in wanted if name in places}
