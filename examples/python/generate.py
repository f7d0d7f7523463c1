#!/usr/bin/env python3
"""Generates text with a packed language model, straight from its .nwc file.

    examples/python/generate.py model.nwc "Once upon a time" --tokens 40

Needs the packages nwc, torch and transformers. MODEL may also be a folder with the unpacked
checkpoint, for comparison. Words are the most probable ones, so the same weights give the same
text.
"""
import argparse
import os
import sys
import time

import torch
import transformers

import nwc.transformers


def load(path):
    if os.path.isdir(path) and os.path.exists(os.path.join(path, "config.json")):
        model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype="auto")
        return model, transformers.AutoTokenizer.from_pretrained(path)
    return nwc.transformers.from_pretrained(path), nwc.transformers.load_tokenizer(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help=".nwc file, index of a set, URL, or unpacked folder")
    parser.add_argument("prompt", nargs="?", default="Once upon a time")
    parser.add_argument("--tokens", type=int, default=40, help="new tokens (40)")
    arguments = parser.parse_args()

    begun = time.perf_counter()
    model, tokenizer = load(arguments.model)
    seconds = time.perf_counter() - begun
    inputs = tokenizer(arguments.prompt, return_tensors="pt")
    with torch.inference_mode():
        tokens = model.generate(input_ids=inputs["input_ids"],
                                attention_mask=inputs["attention_mask"], do_sample=False,
                                max_new_tokens=arguments.tokens)
    print(tokenizer.decode(tokens[0], skip_special_tokens=True))
    print(f"loaded in {seconds:.2f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
