"""Top-1 of ViT-Tiny/16 on a folder of photographs in ImageNet's layout, by transformers' ViT.

    python tools/golden/encoders-top1.py shared/data
    (PyTorch 2.13, transformers 5.18, Pillow 12)

Prints the number that packages/encoders/test/vit-tiny.test.ts compares with.
"""
import pathlib
import sys

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers.models.vit.modeling_vit import ViTConfig, ViTForImageClassification

data = pathlib.Path(sys.argv[1])
weights = {name: value.float() for name, value in load_file(str(data / "vit-tiny-patch16-224/model.safetensors")).items()}
model = ViTForImageClassification(ViTConfig(hidden_size=192, num_hidden_layers=12, num_attention_heads=3, intermediate_size=768, layer_norm_eps=1e-6, num_labels=1000)).eval()
state = {
    "vit.embeddings.cls_token": weights["cls_token"],
    "vit.embeddings.position_embeddings": weights["pos_embed"],
}
for ours, theirs in {"patch_embed.proj": "vit.embeddings.patch_embeddings.projection", "norm": "vit.layernorm", "head": "classifier"}.items():
    for leaf in ("weight", "bias"):
        state[f"{theirs}.{leaf}"] = weights[f"{ours}.{leaf}"]
for i in range(12):
    for leaf in ("weight", "bias"):
        for name, part in zip("qkv", weights[f"blocks.{i}.attn.qkv.{leaf}"].chunk(3)):
            state[f"vit.layers.{i}.attention.{name}_proj.{leaf}"] = part
        for ours, theirs in {"attn.proj": "attention.o_proj", "norm1": "layernorm_before", "norm2": "layernorm_after", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}.items():
            state[f"vit.layers.{i}.{theirs}.{leaf}"] = weights[f"blocks.{i}.{ours}.{leaf}"]
model.load_state_dict(state)

golden = load_file(str(data / "vit-tiny-patch16-224/golden.safetensors"))
classes = {line.split("\t")[1]: int(line.split("\t")[0]) for line in (data / "imagenet-classes.tsv").read_text().splitlines()}
files = sorted((data / "imagenet-256").glob("*/*.JPEG"))
correct = 0
with torch.no_grad():
    difference = (model(golden["pixel_values"].float()).logits - golden["logits"]).abs().max()
    for start in range(0, len(files), 20):
        batch = files[start : start + 20]
        images = [Image.open(file).convert("RGB").resize((248, 248), Image.BICUBIC).crop((12, 12, 236, 236)) for file in batch]
        x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
        guesses = model(x).logits.argmax(-1).tolist()
        correct += sum(guess == classes[file.parent.name] for guess, file in zip(guesses, batch))
print(f"{correct} of {len(files)} correct; golden logits reproduced to {difference:.1e}")
