"""The load format ``nwc`` of vLLM: ``vllm serve FOLDER --load-format nwc``.

vLLM finds ``register`` by the entry point ``vllm.general_plugins`` of this package. FOLDER holds
the packed model and the files vLLM itself reads (config.json, the tokenizer);
``nwc.transformers.write_files`` writes those. A model elsewhere, or at a URL, is named by
``--model-loader-extra-config '{"path": "…"}'``; other keys there are options of ``nwc.stream``.
"""
from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from typing import Any

from ._open import stream

__all__ = ["register"]


def find_model(folder: str) -> str:
    """The container in a folder, or the index of the set there."""
    if os.path.isfile(folder):
        return folder
    for pattern in ("*.nwc.index.json", "*.nwc"):
        found = sorted(glob.glob(os.path.join(glob.escape(folder), pattern)))
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(f"{folder}: holds several packed models, {', '.join(found)}; name one "
                             'with --model-loader-extra-config \'{"path": "…"}\'')
    raise FileNotFoundError(f"{folder}: holds no .nwc file; name one with "
                            '--model-loader-extra-config \'{"path": "…"}\'')


def register() -> None:
    """Makes ``nwc`` a load format; may be called again."""
    from vllm.model_executor.model_loader import register_model_loader
    from vllm.model_executor.model_loader.base_loader import BaseModelLoader

    class NwcModelLoader(BaseModelLoader):
        """Streams decoded tensors into the model's own load_weights, which cuts, fuses and
        places them."""

        def __init__(self, load_config: Any) -> None:
            super().__init__(load_config)
            self._options = dict(load_config.model_loader_extra_config or {})
            self._path = self._options.pop("path", None)

        def download_model(self, model_config: Any) -> None:
            pass  # a URL is read while it is loaded

        def load_weights(self, model: Any, model_config: Any) -> None:
            model.load_weights(self._weights(model_config))

        def _weights(self, model_config: Any) -> Iterator[tuple[str, Any]]:
            path = self._path or find_model(model_config.model)
            return stream(path, framework="pt", **self._options)

    register_model_loader("nwc")(NwcModelLoader)
