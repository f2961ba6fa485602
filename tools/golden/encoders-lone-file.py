"""Golden features of a ViT-Tiny whose weights are a formula, so that only they need to be stored.

    python tools/golden/encoders-lone-file.py packages/cli/test/fixtures/vit-tiny-formula.safetensors
    (PyTorch 2.13, transformers 5.18)

Writes `cls` (2, 192) and `mean` (2, 192), of the patch tokens, after the final LayerNorm, for the images of
encoders-vit.py at 224 pixels. Weight k, element i, in timm's order of names: see `formula`.
"""
import sys

import torch
from safetensors.torch import save_file
from transformers import ViTConfig, ViTModel


def formula(k, shape, norm):
    i = torch.arange(torch.Size(shape).numel())
    return (((i * 7919 + k * 263) % 2003).double() / 2003 - 0.5).mul(0.08).add(float(norm)).float().reshape(shape)


W, H = 192, 768
norm = lambda name: [(f"{name}.weight", [W], True), (f"{name}.bias", [W], False)]
layer = lambda name, out, into: [(f"{name}.weight", [out, into], False), (f"{name}.bias", [out], False)]
order = [("patch_embed.proj.weight", [W, 3, 16, 16], False), ("patch_embed.proj.bias", [W], False)]
order += [("cls_token", [1, 1, W], False), ("pos_embed", [1, 197, W], False)]
for b in range(12):
    order += norm(f"blocks.{b}.norm1") + layer(f"blocks.{b}.attn.qkv", 3 * W, W) + layer(f"blocks.{b}.attn.proj", W, W)
    order += norm(f"blocks.{b}.norm2") + layer(f"blocks.{b}.mlp.fc1", H, W) + layer(f"blocks.{b}.mlp.fc2", W, H)
order += norm("norm")

renames = [
    ("patch_embed.proj", "embeddings.patch_embeddings.projection"),
    ("cls_token", "embeddings.cls_token"),
    ("pos_embed", "embeddings.position_embeddings"),
    ("blocks.", "layers."),
    (".norm1", ".layernorm_before"),
    (".norm2", ".layernorm_after"),
    ("attn.proj", "attention.o_proj"),
]
state = {}
for k, (name, shape, is_norm) in enumerate(order):
    value = formula(k, shape, is_norm)
    for old, new in renames:
        name = name.replace(old, new)
    if name.startswith("norm."):
        name = f"layer{name}"
    if ".attn.qkv." in name:
        for part, rows in zip("qkv", value.chunk(3)):
            state[name.replace("attn.qkv", f"attention.{part}_proj")] = rows
    else:
        state[name] = value

config = ViTConfig(hidden_size=W, num_hidden_layers=12, num_attention_heads=3, intermediate_size=H, layer_norm_eps=1e-6)
model = ViTModel(config, add_pooling_layer=False).eval()
model.load_state_dict(state)
i, y, x, c = torch.meshgrid(*(torch.arange(size) for size in (2, 224, 224, 3)), indexing="ij")
images = ((y * 37 + x * 91 + c * 13 + i * 57 + y * x * 5) % 256).permute(0, 3, 1, 2)
with torch.no_grad():
    tokens = model((images / 255 - 0.5) / 0.5).last_hidden_state
print(tokens.std(), tokens[0, 0, :4])
save_file({"cls": tokens[:, 0].contiguous(), "mean": tokens[:, 1:].mean(1)}, sys.argv[1])
