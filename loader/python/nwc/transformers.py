"""Hugging Face transformers models from NWC files, which carry configuration and tokenizer along.

    model = nwc.transformers.from_pretrained("model.nwc")
    tokenizer = nwc.transformers.load_tokenizer("model.nwc")

Needs the packages transformers and torch.
"""
from __future__ import annotations

import os
import pathlib
import tempfile
from typing import Any

import transformers

from ._open import load_file, safe_open

# The keyword's name since 4.56; earlier ones are "torch_dtype".
_DTYPE = "dtype" if tuple(map(int, transformers.__version__.split(".")[:2])) >= (4, 56) else \
    "torch_dtype"

__all__ = ["from_pretrained", "load_tokenizer", "write_files"]


def write_files(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> list[str]:
    """Writes the files that travel in a model (config.json, the tokenizer) to ``folder``, which
    is made if need be. Returns their names. Raises what ``nwc.safe_open`` raises, and ``OSError``.
    """
    target = pathlib.Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with safe_open(path, framework="np") as file:
        names = file.file_names()
        for name in names:
            (target / name).write_bytes(file.read_file(name))
    return names


def from_pretrained(path: str | os.PathLike[str], model_class: Any = None, *,
                    progress: bool = False, nwc_options: dict[str, Any] | None = None,
                    **kwargs: Any) -> Any:
    """A model with the weights of ``path``, in eval mode, as ``model_class.from_pretrained`` makes
    it from the unpacked checkpoint.

    ``model_class``: a class of transformers; without it the one config.json names, or that for
    causal language models of its kind where it names none. ``kwargs`` go to
    its ``from_pretrained`` (``dtype``, ``device_map``, …); the dtype is that of config.json
    unless they say otherwise. ``nwc_options``: options of ``nwc.safe_open``.

    Raises what ``nwc.load_file`` raises, and ``ValueError`` when the file has no config.json or it
    names no class that transformers has.
    """
    options = nwc_options or {}
    with tempfile.TemporaryDirectory() as folder:
        if "config.json" not in write_files(path, folder):
            raise ValueError("the file has no config.json, expected a model that was packed from "
                             "a folder with one")
        config = kwargs.pop("config", None) or transformers.AutoConfig.from_pretrained(folder)
        generation = None
        if os.path.exists(os.path.join(folder, "generation_config.json")):
            generation = transformers.GenerationConfig.from_pretrained(folder)
    if model_class is None:
        model_class = _class_of(config)
    state = load_file(path, framework="pt", progress=progress, **options)
    if "torch_dtype" not in kwargs:
        kwargs.setdefault(_DTYPE, "auto")
    model = model_class.from_pretrained(None, config=config, state_dict=state, **kwargs)
    if generation is not None and model.can_generate():
        model.generation_config = generation
    return model


def load_tokenizer(path: str | os.PathLike[str], **kwargs: Any) -> Any:
    """The tokenizer that travels in the model, as ``AutoTokenizer.from_pretrained`` makes it."""
    with tempfile.TemporaryDirectory() as folder:
        write_files(path, folder)
        return transformers.AutoTokenizer.from_pretrained(folder, **kwargs)


def _class_of(config: Any) -> Any:
    for name in config.architectures or []:
        if hasattr(transformers, name):
            return getattr(transformers, name)
    if not config.architectures and type(config) in transformers.MODEL_FOR_CAUSAL_LM_MAPPING:
        return transformers.MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    raise ValueError(f"config.json names the architectures {config.architectures}, none of which "
                     f"transformers {transformers.__version__} has; say model_class=…")
