#!/usr/bin/env python3
"""Loads a packed Llama into vLLM's own model, on the CPU, by the load format that vLLM's plugin entry point
finds; compares with the decoded tensors. Run by clients_test.py; nothing is generated, which needs
vLLM's compiled kernels.

    tests/python/vllm_model.py FOLDER      with model.nwc, config.json and a tokenizer
"""
import os
import sys

os.environ.update(HF_HUB_OFFLINE="1", MASTER_ADDR="127.0.0.1", RANK="0", WORLD_SIZE="1", LOCAL_RANK="0")

import torch
import vllm.platforms
from vllm.platforms.cpu import CpuPlatform

# vLLM's wheels for GPUs know no platform on a machine without one.
vllm.platforms._current_platform = vllm.platforms.current_platform = CpuPlatform()

from vllm.config import set_current_vllm_config
from vllm.distributed import init_distributed_environment, initialize_model_parallel
from vllm.engine.arg_utils import EngineArgs
from vllm.model_executor.model_loader import get_model

import nwc
import nwc.vllm


def load(folder):
    nwc.vllm.register()
    config = EngineArgs(model=folder, load_format="nwc", dtype="float32",
                        enforce_eager=True).create_engine_config()
    with set_current_vllm_config(config):
        init_distributed_environment(1, 0, f"file://{folder}/rendezvous", 0, "gloo")
        initialize_model_parallel(1)
        return get_model(vllm_config=config)


def main():
    folder = sys.argv[1]
    parameters = dict(load(folder).named_parameters())
    packed = nwc.load_file(os.path.join(folder, "model.nwc"), framework="pt")
    embeddings = packed["model.embed_tokens.weight"].float()
    loaded = parameters["model.embed_tokens.weight"][:len(embeddings)]  # vLLM pads the vocabulary
    assert torch.equal(loaded, embeddings)
    attention = "model.layers.1.self_attn."
    fused = torch.cat([packed[f"{attention}{part}_proj.weight"] for part in "qkv"]).float()
    assert torch.equal(parameters[f"{attention}qkv_proj.weight"], fused)
    print("equal")


if __name__ == "__main__":
    main()
