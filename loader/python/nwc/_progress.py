"""A bar of decoded bytes, when asked for."""
from __future__ import annotations

from typing import Any


class Progress:
    def __init__(self, wanted: bool, what: str, total_bytes: int) -> None:
        self._bar: Any = None
        if not wanted:
            return
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            raise ImportError("progress=True needs the package tqdm; install it or leave progress "
                              "out") from error
        self._bar = tqdm(total=total_bytes, desc=what, unit="B", unit_scale=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, size_bytes: int) -> None:
        if self._bar is not None:
            self._bar.update(size_bytes)
