#!/usr/bin/env python3
"""Makes tests/data/minilm_layer from the all-MiniLM-L6-v2 checkpoint: layer 0 as float16.

    tools/get_models.py models minilm
    tests/data/make_minilm_layer.py models/minilm [OUT]

The same checkpoint gives the same bytes, whatever the machine.
"""
import json
import pathlib
import struct
import sys

import numpy as np

PREFIX = "encoder.layer.0."


def read_layer(path: pathlib.Path) -> dict[str, np.ndarray]:
    data = path.read_bytes()
    (header_size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + header_size])
    layer = {}
    for name in sorted(name for name in header if name.startswith(PREFIX)):
        entry = header[name]
        if entry["dtype"] != "F32":
            sys.exit(f"{path}: {name} is {entry['dtype']}, expected F32")
        begin, end = entry["data_offsets"]
        values = np.frombuffer(data, "<f4", (end - begin) // 4, 8 + header_size + begin)
        layer[name] = values.reshape(entry["shape"])
    return layer


def float16_bytes(name: str, values: np.ndarray) -> bytes:
    half = values.astype("<f2")  # rounds to nearest, ties to even
    if not np.isfinite(half).all():
        sys.exit(f"{name}: a value does not fit float16")
    return half.tobytes()


def write_safetensors(path: pathlib.Path, layer: dict[str, np.ndarray]) -> None:
    header: dict = {"__metadata__": {"format": "pt"}}
    payload = bytearray()
    for name, values in layer.items():
        begin = len(payload)
        payload += float16_bytes(name, values)
        header[name] = {"dtype": "F16", "shape": list(values.shape),
                        "data_offsets": [begin, len(payload)]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + payload)


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    source = pathlib.Path(sys.argv[1])
    default_out = pathlib.Path(__file__).resolve().parent / "minilm_layer"
    out = pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else default_out
    layer = read_layer(source / "model.safetensors")
    if len(layer) != 16:
        sys.exit(f"{source}: found {len(layer)} tensors of layer 0, expected 16")
    config = json.loads((source / "config.json").read_text())
    config["num_hidden_layers"] = 1
    config["torch_dtype"] = "float16"
    out.mkdir(parents=True, exist_ok=True)
    write_safetensors(out / "model.safetensors", layer)
    (out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
