#!/usr/bin/env python3
"""Tests of nwc-eval as users run it.

    tests/cli/eval_test.py BIN_DIR REFERENCE_MODELS

BIN_DIR holds nwc, nwc-pack and nwc-eval; REFERENCE_MODELS is tests/data/models. Needs numpy. Tests
of text need the package tokenizers in the interpreter that NWC_PYTHON names, or else this one, and
are skipped without it.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import unittest

import numpy as np

from cli_support import CliCase, decode, encode, gaussian, read_safetensors, write_safetensors

VOCABULARY = 96
WORDS = [f"word{i}" for i in range(VOCABULARY - 3)]
PYTHON = os.environ.get("NWC_PYTHON", sys.executable)


def has_tokenizers() -> bool:
    return subprocess.run([PYTHON, "-c", "import tokenizers"], capture_output=True).returncode == 0


def wider_llama(rng):
    """A model whose matrices are large enough to be coded with loss: config and tensors."""
    config = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
              "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": VOCABULARY,
              "tie_word_embeddings": True, "max_position_embeddings": 128}
    tensors = {"model.embed_tokens.weight": gaussian(rng, "F32", (VOCABULARY, 64), 0.3)}
    ones = ("F32", [64], encode("F32", np.ones(64)))
    sizes = {"self_attn.q_proj": (64, 64), "self_attn.k_proj": (64, 64),
             "self_attn.v_proj": (64, 64), "self_attn.o_proj": (64, 64), "mlp.gate_proj": (128, 64),
             "mlp.up_proj": (128, 64), "mlp.down_proj": (64, 128)}
    for layer in range(2):
        prefix = f"model.layers.{layer}."
        for name, shape in sizes.items():
            tensors[f"{prefix}{name}.weight"] = gaussian(rng, "F32", shape, 0.15)
        tensors[f"{prefix}input_layernorm.weight"] = ones
        tensors[f"{prefix}post_attention_layernorm.weight"] = ones
    tensors["model.norm.weight"] = ones
    return config, tensors


class EvalCase(CliCase):
    references: pathlib.Path

    def eval(self, *arguments, **options):
        return self.run_program("nwc-eval", *arguments, **options)

    def eval_json(self, *arguments, **options):
        return json.loads(self.eval(*arguments, "--json", "-q", **options).stdout)

    def model(self, change=None, name="model"):
        """A folder with a model; `change` may edit its tensors."""
        config, tensors = wider_llama(np.random.default_rng(5))
        if change:
            change(tensors)
        folder = self.checkpoint(tensors, name)
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    def tokens(self, ids, name="tokens.safetensors"):
        ids = np.asarray(ids, np.int64)
        write_safetensors(self.path(name),
                          {"input_ids": ("I64", ids.shape, ids.astype("<i8").tobytes())})
        return self.path(name)

    def random_tokens(self, *shape):
        return self.tokens(self.rng.integers(0, VOCABULARY, shape))

    def fails_with(self, code, pattern, *arguments, **options):
        self.assertRegex(self.eval(*arguments, "-q", expect=code, **options).stderr, pattern)


class Figures(EvalCase):
    def test_lossless_changes_nothing(self):
        model = self.model()
        packed = self.pack(model, self.path("m.nwc"), "--profile", "exact")
        found = self.eval_json("--model", model, "--packed", packed,
                               "--text", self.random_tokens(3, 50))
        self.assertLessEqual(abs(found["kl"]), 1e-7)
        self.assertEqual(found["top1_agreement"], 1)
        self.assertEqual(found["tokens"], 3 * 49)
        self.assertEqual(found["perplexity"], found["reference_perplexity"])

    def test_lossy_costs_less_at_more_bits(self):
        model, tokens, kls = self.model(), self.random_tokens(400), []
        for bits in (2, 4, 6):
            packed = self.pack(model, self.path(f"{bits}.nwc"), "--bits", bits)
            found = self.eval_json("--model", model, "--packed", packed, "--text", tokens,
                                   "--windows", 4, "--length", 100)
            inspected = self.inspect(packed)
            self.assertEqual(found["bits_per_weight"], inspected["bits_per_weight"])
            self.assertEqual(found["linear_bits_per_weight"], inspected["linear_bits_per_weight"])
            kls.append(found["kl"])
        self.assertGreater(kls[0], 2 * kls[1])
        self.assertGreater(kls[1], 2 * kls[2])
        self.assertGreater(kls[2], 0)

    def test_unpacked_folder_gives_the_same_as_the_container(self):
        model, tokens = self.model(), self.random_tokens(2, 64)
        packed = self.pack(model, self.path("m.nwc"), "--bits", "3")
        self.nwc("unpack", packed, "-o", self.path("out"))
        a, b = (self.eval_json("--model", model, "--packed", p, "--text", tokens, "--threads", 1)
                for p in (packed, self.path("out")))
        self.assertEqual(a["kl"], b["kl"])
        self.assertIsNone(b["bits_per_weight"])

    def test_without_packed_there_is_the_original_alone(self):
        found = self.eval_json("--model", self.model(), "--text", self.random_tokens(2, 32))
        self.assertGreater(found["reference_perplexity"], 1)
        self.assertEqual(found["perplexity"], found["reference_perplexity"])
        for field in ("packed", "kl", "top1_agreement", "linear_bits_per_weight", "mean_cosine"):
            self.assertIsNone(found[field], field)

    def test_references_have_the_perplexity_of_their_logits(self):
        for name in ("llama", "mistral", "qwen2", "qwen3"):
            folder = self.references / name
            tensors, _ = read_safetensors(folder / "expected.safetensors")
            ids = np.frombuffer(tensors["input_ids"][2], "<i8").reshape(tensors["input_ids"][1])
            logits = decode("F32", tensors["logits"][2]).reshape(tensors["logits"][1])
            losses = np.log(np.exp(logits).sum(-1))[:, :-1]
            losses -= np.take_along_axis(logits[:, :-1], ids[:, 1:, None], 2)[..., 0]
            model = self.path(name)
            model.mkdir()
            for file in ("config.json", "model.safetensors"):
                shutil.copy(folder / file, model)
            found = self.eval_json("--model", model, "--text", folder / "expected.safetensors")
            self.assertAlmostEqual(found["reference_perplexity"] / np.exp(losses.mean()), 1, delta=1e-5)

    def test_encoder_gives_cosines(self):
        folder = self.path("bert")
        folder.mkdir()
        for file in ("config.json", "model.safetensors"):
            shutil.copy(self.references / "bert" / file, folder)
        found = self.eval_json("--model", folder, "--packed", folder,
                               "--text", self.random_tokens(5, 12))
        self.assertAlmostEqual(found["worst_cosine"], 1, delta=1e-9)
        self.assertEqual(found["sentences"], 5)
        self.assertIsNone(found["perplexity"])

    def test_report_for_people(self):
        model = self.model()
        out = self.eval("--model", model, "--packed", model, "--text",
                        self.random_tokens(2, 32)).stdout
        for words in ("perplexity", "KL", "100.00 %"):
            self.assertIn(words, out)


class BadInput(EvalCase):
    def test_tokens(self):
        model = self.model()
        self.fails_with(2, "has 100 tokens, expected at least 24576", "--model", model, "--text",
                        self.random_tokens(100), "--length", 1024)
        self.fails_with(2, "window 1, position 2: token 96", "--model", model, "--text",
                        self.tokens([[1, 2, 3], [4, 5, 96]]))
        self.fails_with(2, "holds -3 at position 1", "--model", model, "--text",
                        self.tokens([[1, -3, 3]]))
        self.fails_with(2, "at most 128", "--model", model, "--text", self.random_tokens(1, 129))
        write_safetensors(self.path("x.safetensors"), {"x": ("I64", [1], bytes(8))})
        self.fails_with(2, "no tensor input_ids", "--model", model, "--text",
                        self.path("x.safetensors"))
        write_safetensors(self.path("f.safetensors"), {"input_ids": ("F32", [2], bytes(8))})
        self.fails_with(2, "type F32", "--model", model, "--text", self.path("f.safetensors"))
        self.fails_with(3, "nothing.safetensors", "--model", model, "--text",
                        self.path("nothing.safetensors"))

    def test_tensors(self):
        model, tokens = self.model(), self.random_tokens(2, 16)
        name = "model.layers.1.mlp.up_proj.weight"
        lacking = self.model(lambda t: t.pop(name), "lacking")
        self.fails_with(2, f"{name}.* is not in the packed one", "--model", model, "--packed",
                        lacking, "--text", tokens)
        self.fails_with(2, f"{name}.* is not in the model", "--model", lacking, "--packed", model,
                        "--text", tokens)
        self.fails_with(2, f"{name}: not there", "--model", lacking, "--text", tokens)
        partial = self.pack(model, self.path("partial.nwc"), "--exclude", r"up_proj")
        self.fails_with(2, "up_proj", "--model", model, "--packed", partial, "--text", tokens)

        def spoil(tensors):
            dtype, shape, data = tensors[name]
            values = np.frombuffer(data, "<f4").copy()
            values[7] = np.nan
            tensors[name] = (dtype, shape, values.tobytes())
        spoiled = self.model(spoil, "spoiled")
        self.fails_with(1, "packed model: layer 1 gives numbers that are not finite", "--model",
                        model, "--packed", spoiled, "--text", tokens)
        self.fails_with(1, "original model: layer 1", "--model", spoiled, "--text", tokens)

    def test_configuration(self):
        model, tokens = self.model(), self.random_tokens(2, 16)
        config = model / "config.json"
        config.write_text("{")
        self.fails_with(2, "config.json", "--model", model, "--text", tokens)
        config.write_text('{"model_type": "mamba"}')
        self.fails_with(1, "mamba", "--model", model, "--text", tokens)
        config.unlink()
        self.fails_with(3, "config.json", "--model", model, "--text", tokens)

    def test_command_line(self):
        model, tokens = self.model(), self.random_tokens(2, 16)
        self.fails_with(2, "--text", "--model", model)
        self.fails_with(2, "--device", "--model", model, "--text", tokens, "--device", "tpu")
        self.fails_with(2, "--windows", "--model", model, "--text", tokens, "--windows", "0")
        self.fails_with(3, "nothing.nwc", "--model", model, "--text", tokens, "--packed",
                        self.path("nothing.nwc"))
        self.assertIn("--packed", self.eval("--help").stdout)

    def test_damaged_container(self):
        model = self.model()
        packed = self.pack(model, self.path("m.nwc"))
        offset = packed.stat().st_size // 2
        self.flip(packed, offset)
        self.eval("--model", model, "--packed", packed, "--text", self.random_tokens(2, 16), "-q",
                  expect=1)

    def test_text_without_python_or_tokenizer(self):
        model = self.model()
        text = self.path("text.txt")
        text.write_text("some words")
        self.fails_with(3, "tokenizer.json", "--model", model, "--text", text)
        (model / "tokenizer.json").write_text("{}")
        for python in (self.path("nothing"), self.fake_python()):
            self.fails_with(3, "Python 3|pip install tokenizers", "--model", model, "--text", text,
                            env={**os.environ, "NWC_PYTHON": str(python)})

    def fake_python(self):
        """An interpreter that has no packages at all."""
        script = self.path("python")
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
        script.chmod(0o755)
        return script


@unittest.skipUnless(has_tokenizers(), "the package tokenizers is not installed")
class Text(EvalCase):
    def with_tokenizer(self, folder):
        """A tokenizer of words, with the special tokens of BERT."""
        vocabulary = {w: i for i, w in enumerate(["[UNK]", "[CLS]", "[SEP]", *WORDS])}
        (folder / "vocabulary.json").write_text(json.dumps(vocabulary))
        code = ("import json, sys, tokenizers as t\n"
                "v = json.load(open(sys.argv[1]))\n"
                "k = t.Tokenizer(t.models.WordLevel(v, unk_token='[UNK]'))\n"
                "k.pre_tokenizer = t.pre_tokenizers.WhitespaceSplit()\n"
                "k.post_processor = t.processors.BertProcessing(('[SEP]', 2), ('[CLS]', 1))\n"
                "k.enable_truncation(4)\nk.save(sys.argv[2])\n")
        subprocess.run([PYTHON, "-c", code, str(folder / "vocabulary.json"),
                        str(folder / "tokenizer.json")], check=True)
        return folder

    def words(self, count):
        return self.rng.integers(0, len(WORDS), count)

    def eval_text(self, *arguments, **options):
        return self.eval_json(*arguments, env={**os.environ, "NWC_PYTHON": PYTHON}, **options)

    def test_text_and_its_tokens_give_the_same(self):
        model = self.with_tokenizer(self.model())
        words = self.words(5000)
        text = self.path("text.txt")
        text.write_text("\n".join(WORDS[i] for i in words))
        a = self.eval_text("--model", model, "--text", text, "--windows", 3, "--length", 40)
        b = self.eval_json("--model", model, "--text", self.tokens(words[:120].reshape(3, 40) + 3))
        self.assertEqual(a["reference_perplexity"], b["reference_perplexity"])
        self.assertEqual(a["tokens"], 3 * 39)
        self.fails_with(2, "has 5000 tokens, expected at least 12000", "--model", model, "--text",
                        text, "--windows", 300, "--length", 40,
                        env={**os.environ, "NWC_PYTHON": PYTHON})

    def test_sentences(self):
        bert = self.path("bert")
        shutil.copytree(self.references / "bert", bert)
        (bert / "expected.safetensors").unlink()
        self.with_tokenizer(bert)
        lines = [" ".join(WORDS[i] for i in self.words(n)) for n in (7, 3, 30, 5, 9)]
        for name, separator in (("lines", "\n"), ("paragraphs", "\n\n")):
            text = self.path(f"{name}.txt")
            text.write_text(separator.join(lines))
            found = self.eval_text("--model", bert, "--packed", bert, "--text", text, "--windows",
                                   4, "--length", 10)
            self.assertEqual(found["sentences"], 4)
            self.fails_with(2, "has 4 sentences", "--model", bert, "--text", text, "--windows", 5,
                            env={**os.environ, "NWC_PYTHON": PYTHON})

    def test_bad_text_and_tokenizer(self):
        model = self.with_tokenizer(self.model())
        environment = {**os.environ, "NWC_PYTHON": PYTHON}
        text = self.path("text.txt")
        text.write_bytes(b"word1 \xff word2")
        self.fails_with(2, "byte 6 is not UTF-8", "--model", model, "--text", text, env=environment)
        self.fails_with(3, "nothing.txt", "--model", model, "--text", self.path("nothing.txt"),
                        env=environment)
        (model / "tokenizer.json").write_text("{}")
        text.write_text("word1")
        self.fails_with(1, "tokenizer.json", "--model", model, "--text", text, env=environment)


if __name__ == "__main__":
    EvalCase.references = pathlib.Path(sys.argv.pop(2)).resolve()
    CliCase.binaries = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
