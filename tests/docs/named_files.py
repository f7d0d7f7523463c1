"""The files that the documents name in their commands, small enough to run them: a checkpoint with
random weights and a tokenizer of its own, texts for it, containers, and the repository's folders."""
import json
import pathlib
import shutil
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "cli"))
from cli_support import encode, gaussian, write_safetensors  # noqa: E402

WORDS = [f"word{i}" for i in range(95)]
SIDE, LAYERS = 64, 4
TEXTS, TEXT_WORDS = ("calibration.txt", "evaluation.txt", "text.txt", "other.txt"), 33_000
# For commands that begin in the root of the repository.
LINKS = ("cmake", "examples", "loader", "tests", "tools", "CMakeLists.txt")


def llama(rng):
    """Configuration and tensors, by the names of the real one."""
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": SIDE,
              "intermediate_size": 2 * SIDE, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
              "vocab_size": len(WORDS) + 1, "tie_word_embeddings": True, "max_position_embeddings": 2048}
    shapes = {"self_attn.q_proj": (SIDE, SIDE), "self_attn.k_proj": (SIDE, SIDE), "self_attn.v_proj": (SIDE, SIDE),
              "self_attn.o_proj": (SIDE, SIDE), "mlp.gate_proj": (2 * SIDE, SIDE), "mlp.up_proj": (2 * SIDE, SIDE),
              "mlp.down_proj": (SIDE, 2 * SIDE)}
    ones = ("BF16", [SIDE], encode("BF16", np.ones(SIDE)))
    tensors = {"model.embed_tokens.weight": gaussian(rng, "BF16", (len(WORDS) + 1, SIDE), 0.1)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        for name, shape in shapes.items():
            tensors[f"{prefix}{name}.weight"] = gaussian(rng, "BF16", shape, 0.15)
        tensors[f"{prefix}input_layernorm.weight"] = ones
        tensors[f"{prefix}post_attention_layernorm.weight"] = ones
    tensors["model.norm.weight"] = ones
    return config, tensors


def tokenizer():
    """Of whole words, as the package tokenizers reads it."""
    vocabulary = {word: i for i, word in enumerate(["[UNK]", *WORDS])}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
            "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
            "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"}}


def make_checkpoint(folder):
    folder.mkdir()
    config, tensors = llama(np.random.default_rng(11))
    write_safetensors(folder / "model.safetensors", tensors, {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer()))


def make_all(folder, build, pack):
    """Everything of one page; `pack(checkpoint, container)` packs."""
    rng = np.random.default_rng(12)
    make_checkpoint(folder / "smollm2")
    shutil.copytree(folder / "smollm2", folder / "DIR")
    for name in TEXTS:
        (folder / name).write_text(" ".join(WORDS[i] for i in rng.integers(0, len(WORDS), TEXT_WORDS)))
    pack(folder / "smollm2", folder / "model.nwc")
    shutil.copy(ROOT / "tests" / "golden" / "invalid" / "R20_raw.nwc", folder / "damaged.nwc")
    for name in ("load.c", "load.cc"):
        shutil.copy(ROOT / "tests" / "install" / "consumer" / name, folder)
    for name in LINKS:
        (folder / name).symlink_to(ROOT / name)
    (folder / "build").symlink_to(build)
