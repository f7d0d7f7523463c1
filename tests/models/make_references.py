#!/usr/bin/env python3
"""Writes the models and expected outputs that tests/models compares the forward passes with.

    make_references.py FOLDER            small random models: FOLDER is tests/data/models
    make_references.py --check DIR -o FOLDER [--tokens N]
                                         outputs of the checkpoint DIR, beside links to its files

Run by hand; needs torch, transformers and safetensors. Each model is a folder with config.json,
model.safetensors and expected.safetensors: input_ids, and logits or embeddings in float32. The test
takes another folder of the same kind from NWC_REFERENCE_MODEL.
"""
import argparse
import pathlib

import torch
import transformers
from safetensors.torch import save_file
from torch import nn

SEED = 20240607
VOCABULARY, LENGTH, WINDOWS = 96, 24, 2

DECODER = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48,
           "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
           "max_position_embeddings": 64, "pad_token_id": None, "bos_token_id": 1, "eos_token_id": 2}
LLAMA3_ROPE = {"rope_type": "llama3", "rope_theta": 500.0, "factor": 4.0, "low_freq_factor": 1.0,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 16}

# Name: (configuration class, what differs from DECODER). Each has one or two features of its own.
MODELS = {
    "llama": (transformers.LlamaConfig, {"attention_bias": True, "mlp_bias": True,
                                         "tie_word_embeddings": False}),
    "llama3_rope": (transformers.LlamaConfig, {"head_dim": 16, "rope_parameters": LLAMA3_ROPE,
                                               "tie_word_embeddings": True}),
    "linear_rope": (transformers.LlamaConfig, {
        "num_key_value_heads": 4,
        "rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.5}}),
    "mistral": (transformers.MistralConfig, {"sliding_window": 7, "num_key_value_heads": 1}),
    "qwen2": (transformers.Qwen2Config, {"use_sliding_window": True, "sliding_window": 5,
                                         "max_window_layers": 1}),
    "qwen3": (transformers.Qwen3Config, {"head_dim": 16, "tie_word_embeddings": True}),
    "bert": (transformers.BertConfig, {"num_key_value_heads": None}),
}


def randomize(model: nn.Module) -> None:
    """Weights far enough from 0 that attention is not uniform, and exact in bfloat16."""
    for name, parameter in model.named_parameters():
        values = torch.randn(parameter.shape)
        if "norm" in name.lower() and name.endswith("weight"):
            values = 1 + 0.2 * values
        else:
            values *= 0.2 if parameter.dim() > 1 else 0.1
        parameter.data = values.bfloat16().float()


def build(name: str) -> nn.Module:
    config_class, changes = MODELS[name]
    config = config_class(**{**DECODER, **changes})
    config._attn_implementation = "eager"
    model_class = (transformers.BertModel if name == "bert" else transformers.AutoModelForCausalLM)
    if name == "bert":
        return model_class(config, add_pooling_layer=False)
    return model_class.from_config(config)


def outputs(model: nn.Module, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        if model.config.model_type != "bert":
            return {"logits": model(ids).logits.float()}
        mean = model(ids).last_hidden_state.mean(1)
        return {"embeddings": nn.functional.normalize(mean, dim=-1)}


def write_small(name: str, root: pathlib.Path) -> None:
    torch.manual_seed(SEED + list(MODELS).index(name))
    model = build(name).eval()
    randomize(model)
    model.tie_weights()
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    model.config.to_json_file(folder / "config.json")
    tied = model.config.tie_word_embeddings and "lm_head.weight" in model.state_dict()
    weights = {key: value.bfloat16().contiguous() for key, value in model.state_dict().items()
               if value.is_floating_point() and not (tied and key == "lm_head.weight")}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    ids = torch.randint(0, VOCABULARY, (WINDOWS, LENGTH))
    save_file({"input_ids": ids, **outputs(model, ids)}, folder / "expected.safetensors")


def write_check(source: pathlib.Path, folder: pathlib.Path, tokens: int) -> None:
    torch.manual_seed(SEED)
    config = transformers.AutoConfig.from_pretrained(source)
    kind = (transformers.AutoModel if config.model_type == "bert"
            else transformers.AutoModelForCausalLM)
    model = kind.from_pretrained(source, dtype=torch.float32, attn_implementation="eager").eval()
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("config.json", "model.safetensors"):
        (folder / file).unlink(missing_ok=True)
        (folder / file).symlink_to((source / file).resolve())
    ids = torch.randint(0, config.vocab_size, (WINDOWS, tokens))
    save_file({"input_ids": ids, **outputs(model, ids)}, folder / "expected.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=pathlib.Path)
    parser.add_argument("--check", type=pathlib.Path, metavar="DIR")
    parser.add_argument("-o", "--output", type=pathlib.Path)
    parser.add_argument("--tokens", type=int, default=256, help="of each of the two windows")
    arguments = parser.parse_args()
    if arguments.check:
        if arguments.output is None:
            parser.error("--check needs -o")
        write_check(arguments.check, arguments.output, arguments.tokens)
    elif arguments.folder:
        for name in MODELS:
            write_small(name, arguments.folder)
    else:
        parser.error("expected a folder or --check")


if __name__ == "__main__":
    main()
