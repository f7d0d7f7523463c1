#!/usr/bin/env python3
"""Other loaders, one load a process: for tests/bench/load.py, in the environment of install_peers.sh.

    load_peers.py load PEER FILE        JSON: seconds, bytes and tensors in memory, peak memory
    load_peers.py prepare PEER SAFETENSORS FILE    writes the peer's own kind of file, loads it back

The clock starts after the imports and stops when every tensor is in memory. What a loader maps
instead of reading is touched, a byte of every page; nothing more is done to it.
"""
import json
import os
import sys
import time

import numpy as np

BLOCK_BYTES = 8 << 20
PAGE_BYTES = 4096


def touch(tensors):
    """Reads a byte of every page of every tensor."""
    import torch
    for tensor in tensors.values():
        tensor.reshape(-1).view(torch.uint8)[::PAGE_BYTES].sum()
    return tensors


class Safetensors:
    def __init__(self):
        import safetensors.torch
        self.load_file = safetensors.torch.load_file

    def load(self, path):
        return touch(self.load_file(path))


class SafetensorsCopied(Safetensors):
    """safe_open and a copy of every tensor: memory of its own, as all others here have."""

    def load(self, path):
        import safetensors
        with safetensors.safe_open(path, framework="pt") as f:
            return {name: f.get_tensor(name).clone() for name in f.keys()}


class SafetensorsPread(Safetensors):
    def load(self, path):
        return touch(self.load_file(path, backend="pread"))


class Pread:
    """The file into one new buffer, block after block: what a disk gives to a single thread."""

    threads = 1

    def load(self, path):
        size = os.path.getsize(path)
        buffer = memoryview(np.empty(size, np.uint8))
        descriptor = os.open(path, os.O_RDONLY)

        def read(begin):
            end = min(begin + BLOCK_BYTES, size)
            while begin < end:
                got = os.preadv(descriptor, [buffer[begin:end]], begin)
                if got <= 0:
                    raise OSError(f"{path}: ended early")
                begin += got

        self.each(read, range(0, size, BLOCK_BYTES))
        os.close(descriptor)
        return {"file": np.frombuffer(buffer, np.uint8)}

    def each(self, body, begins):
        for begin in begins:
            body(begin)


class PreadThreads(Pread):
    def each(self, body, begins):
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(body, begins))


class Runai:
    def __init__(self):
        from runai_model_streamer import SafetensorsStreamer
        self.streamer = SafetensorsStreamer

    def load(self, path):
        with self.streamer() as streamer:
            streamer.stream_file(str(path))
            return touch(dict(streamer.get_tensors()))


class Tensorizer:
    def __init__(self):
        import tensorizer
        self.tensorizer = tensorizer

    def prepare(self, source, path):
        from safetensors.torch import load_file
        serializer = self.tensorizer.TensorSerializer(path)
        serializer.write_state_dict(load_file(source))
        serializer.close()

    def load(self, path):
        with self.tensorizer.TensorDeserializer(path, device="cpu") as tensors:
            return touch(dict(tensors.items()))


class Zipnn:
    """Its plugin for safetensors: every tensor compressed by itself, without loss."""

    def __init__(self):
        from zipnn import zipnn, util_safetensors
        self.zipnn, self.util = zipnn, util_safetensors

    def prepare(self, source, path):
        import torch
        from safetensors.torch import load_file, save_file
        packed, infos = {}, {}
        for name, tensor in load_file(source).items():
            coder = self.zipnn.ZipNN(input_format="torch", method=self.util.COMPRESSION_METHOD)
            packed[name] = torch.frombuffer(bytearray(coder.compress(tensor.clone())), dtype=torch.uint8)
            infos[name] = self.util.build_compressed_tensor_info(tensor)
        metadata = {"format": "pt"}
        self.util.set_compressed_tensors_metadata(infos, metadata)
        save_file(packed, path, metadata)

    def load(self, path):
        with self.zipnn.SafeOpen(path, framework="pt") as f:
            return touch({name: f.get_tensor(name) for name in f.keys()})


PEERS = {"safetensors": Safetensors, "safetensors-copied": SafetensorsCopied,
         "safetensors-pread": SafetensorsPread, "pread": Pread, "pread-threads": PreadThreads,
         "runai": Runai, "tensorizer": Tensorizer, "zipnn": Zipnn}


def peak_memory_bytes():
    with open("/proc/self/status") as f:
        return next(1024 * int(line.split()[1]) for line in f if line.startswith("VmHWM"))


def load(peer, path):
    imported = peak_memory_bytes()
    begun = time.perf_counter()
    tensors = peer.load(path)
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "tensors": len(tensors), "decoded_bytes": sum(t.nbytes for t in tensors.values()),
            "peak_memory_bytes": peak_memory_bytes(), "peak_memory_bytes_before": imported}


def compare(expected, found):
    """Every loader here is lossless."""
    import torch
    if expected.keys() != found.keys() or not all(torch.equal(t, found[name]) for name, t in expected.items()):
        sys.exit("load_peers.py: the prepared file does not give the tensors back")


def main():
    verb, name, *paths = sys.argv[1:]
    peer = PEERS[name]()
    if verb == "prepare":
        peer.prepare(*paths)
        compare(Safetensors().load(paths[0]), peer.load(paths[1]))
    else:
        print(json.dumps(load(peer, *paths)))


if __name__ == "__main__":
    main()
