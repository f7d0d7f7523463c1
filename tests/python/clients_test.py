#!/usr/bin/env python3
"""transformers and vLLM load packed models; skipped where these are not installed.

    tests/python/clients_test.py BIN_DIR

The generation test also runs on models/smollm2, if tools/get_models.py has put it there.
"""
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import types
import unittest
from unittest import mock

import nwc
import nwc.vllm
from package_support import GOLDEN, ROOT, TESTS, PackageCase, main

os.environ["HF_HUB_OFFLINE"] = "1"
try:
    import torch
    import transformers

    import nwc.transformers
    MISSING = ""
except ImportError as error:
    torch, MISSING = None, f"torch or transformers cannot be imported: {error}"

LLAMA = TESTS / "data" / "models" / "llama"
SMOLLM2 = ROOT / "models" / "smollm2"
EXAMPLE = ROOT / "examples" / "python" / "generate.py"


def small_llama(parent):
    """A checkpoint: the small Llama of the tests, with a tokenizer of 96 words."""
    import tokenizers
    folder = parent / "llama"
    folder.mkdir()
    shutil.copy(LLAMA / "model.safetensors", folder)
    config = json.loads((LLAMA / "config.json").read_text())
    config["architectures"] = ["LlamaForCausalLM"]
    (folder / "config.json").write_text(json.dumps(config))
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({f"w{i}": i for i in range(96)},
                                                             unk_token="w0"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(folder)
    transformers.GenerationConfig(eos_token_id=95, max_new_tokens=5).save_pretrained(folder)
    return folder


@unittest.skipIf(torch is None, MISSING)
class Transformers(PackageCase):
    def pack(self, folder, *arguments):
        packed = self.folder / "model.nwc"
        self.run_program("nwc-pack", folder, "-o", packed, "--quiet", *arguments)
        self.run_program("nwc", "unpack", packed, "-o", self.folder / "unpacked", "--quiet")
        return packed, self.folder / "unpacked"

    def test_a_model_equals_the_unpacked_one(self):
        packed, unpacked = self.pack(small_llama(self.folder))
        ours = nwc.transformers.from_pretrained(packed)
        theirs = transformers.AutoModelForCausalLM.from_pretrained(unpacked, dtype="auto")
        self.assertIs(type(ours), type(theirs))
        self.assertFalse(ours.training)
        self.assertEqual(ours.dtype, theirs.dtype)
        self.assertEqual(ours.generation_config.to_dict(), theirs.generation_config.to_dict())
        expected = theirs.state_dict()
        self.assertEqual(set(ours.state_dict()), set(expected))
        for name, tensor in ours.state_dict().items():
            self.assertTrue(torch.equal(tensor, expected[name]), name)
        tokens = torch.arange(12).reshape(1, 12)
        with torch.inference_mode():
            self.assertTrue(torch.equal(ours(tokens).logits, theirs(tokens).logits))

    def test_dtype_and_class_may_be_chosen(self):
        packed, _ = self.pack(small_llama(self.folder))
        model = nwc.transformers.from_pretrained(packed, transformers.LlamaModel,
                                                 dtype=torch.bfloat16)
        self.assertIsInstance(model, transformers.LlamaModel)
        self.assertEqual(model.dtype, torch.bfloat16)

    def test_a_model_without_configuration_says_so(self):
        with self.assertRaisesRegex(ValueError, "no config.json"):
            nwc.transformers.from_pretrained(GOLDEN / "valid" / "exact.nwc")

    def generate(self, model, prompt):
        return subprocess.run([sys.executable, EXAMPLE, model, prompt, "--tokens", "24"], check=True,
                              capture_output=True, text=True).stdout

    def test_the_example_generates_what_the_unpacked_model_does(self):
        packed, unpacked = self.pack(small_llama(self.folder))
        text = self.generate(packed, "w3 w14 w15")
        self.assertEqual(text, self.generate(unpacked, "w3 w14 w15"))
        self.assertGreater(len(text.split()), 5)

    @unittest.skipUnless(SMOLLM2.exists(), f"{SMOLLM2} is not there: tools/get_models.py makes it")
    def test_smollm2_writes_the_same_text(self):
        packed, unpacked = self.pack(SMOLLM2)
        text = self.generate(packed, "The capital of France is")
        self.assertEqual(text, self.generate(unpacked, "The capital of France is"))
        self.assertIn("Paris", text)


class FakeLoader:
    """What the plugin needs of vLLM's BaseModelLoader."""

    def __init__(self, load_config):
        self.load_config = load_config


class Vllm(PackageCase):
    """Against the interface that vLLM documents, and against vLLM itself where it is installed."""

    def registered(self):
        formats = {}
        loaders = types.ModuleType("vllm.model_executor.model_loader")
        loaders.register_model_loader = lambda name: lambda cls: formats.setdefault(name, cls)
        base = types.ModuleType("vllm.model_executor.model_loader.base_loader")
        base.BaseModelLoader = FakeLoader
        with mock.patch.dict(sys.modules, {
                "vllm": types.ModuleType("vllm"), loaders.__name__: loaders, base.__name__: base,
                "vllm.model_executor": types.ModuleType("vllm.model_executor")}):
            nwc.vllm.register()
        return formats["nwc"]

    def check(self, loader_class, load_config, model_folder):
        loader = loader_class(load_config)
        loader.download_model(types.SimpleNamespace(model=str(model_folder)))
        seen = {}
        model = types.SimpleNamespace(load_weights=lambda weights: seen.update(weights))
        loader.load_weights(model, types.SimpleNamespace(model=str(model_folder)))
        expected = nwc.load_file(GOLDEN / "valid" / "many_tiles.nwc", framework="pt")
        self.assertEqual(set(seen), set(expected))
        for name, tensor in seen.items():
            self.assertTrue(torch.equal(tensor, expected[name]), name)

    @unittest.skipIf(torch is None, MISSING)
    def test_weights_are_streamed_into_the_model(self):
        shutil.copy(GOLDEN / "valid" / "many_tiles.nwc", self.folder)
        for config in ({}, {"threads": 1}, {"path": str(GOLDEN / "valid" / "many_tiles.nwc")}):
            self.check(self.registered(),
                       types.SimpleNamespace(model_loader_extra_config=config), self.folder)

    def test_a_folder_must_hold_one_model(self):
        with self.assertRaisesRegex(FileNotFoundError, "model-loader-extra-config"):
            nwc.vllm.find_model(str(self.folder))
        for name in ("a.nwc", "b.nwc"):
            shutil.copy(GOLDEN / "valid" / "many_tiles.nwc", self.folder / name)
        with self.assertRaisesRegex(ValueError, "several"):
            nwc.vllm.find_model(str(self.folder))
        (self.folder / "c.nwc.index.json").write_text("{}")
        self.assertTrue(nwc.vllm.find_model(str(self.folder)).endswith("c.nwc.index.json"))

    @unittest.skipUnless(importlib.util.find_spec("vllm"), "vLLM is not installed")
    def test_vllm_itself_takes_the_load_format(self):
        from vllm.config.load import LoadConfig
        from vllm.model_executor.model_loader import get_model_loader
        nwc.vllm.register()
        shutil.copy(GOLDEN / "valid" / "many_tiles.nwc", self.folder)
        config = LoadConfig(load_format="nwc")
        loader = get_model_loader(config)
        self.assertEqual(type(loader).__name__, "NwcModelLoader")
        self.check(lambda _: loader, config, self.folder)

    @unittest.skipUnless(importlib.util.find_spec("vllm"), "vLLM is not installed")
    def test_a_model_of_vllm_gets_its_weights(self):
        folder = small_llama(self.folder)
        packed = self.folder / "model.nwc"
        self.run_program("nwc-pack", folder, "-o", packed, "--quiet")
        packed.rename(folder / "model.nwc")
        (folder / "model.safetensors").unlink()
        printed = subprocess.run([sys.executable, TESTS / "python" / "vllm_model.py", folder],
                                 check=True, capture_output=True, text=True).stdout
        self.assertTrue(printed.endswith("equal\n"), printed)


if __name__ == "__main__":
    main()
