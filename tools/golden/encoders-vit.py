"""Golden fixtures of @aligntok/encoders: tiny random models in PyTorch and transformers.

    python tools/golden/encoders-vit.py packages/encoders/test/fixtures
    (PyTorch 2.13, transformers 5.18)

Writes, for each model, a folder as `save_pretrained` writes it (or with timm's fields), with
`golden.safetensors`: `tokens/HxW` after the final LayerNorm and `layer0/HxW` after the first block, for
images given by a formula (`images` below); and `positions.safetensors` for the resampling flavours.
"""
import json
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers.models.dinov2.modeling_dinov2 import Dinov2Config, Dinov2Model
from transformers.models.dinov2_with_registers.modeling_dinov2_with_registers import (
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
)
from transformers.models.vit.modeling_vit import ViTConfig, ViTForImageClassification

out = pathlib.Path(sys.argv[1])
IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
HALF = [0.5] * 3, [0.5] * 3


def images(n, height, width):
    """(N, H, W, 3) integers from 0 to 255."""
    i, y, x, c = torch.meshgrid(*(torch.arange(size) for size in (n, height, width, 3)), indexing="ij")
    return (y * 37 + x * 91 + c * 13 + i * 57 + y * x * 5) % 256


def pixels(n, height, width, mean, std):
    x = images(n, height, width).permute(0, 3, 1, 2) / 255
    return (x - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def randomise(model):
    for name, value in model.state_dict().items():
        scale = 0.4 if value.ndim == 1 else 1.5 / value[0].numel() ** 0.5
        value.copy_(torch.randn_like(value) * scale + (1 if value.ndim == 1 and name.endswith("weight") else 0))


def write(name, model, run, sizes, statistics):
    torch.manual_seed(7)
    randomise(model)
    model.eval()
    golden = {}
    with torch.no_grad():
        for height, width in sizes:
            tokens, first, logits = run(model, pixels(2, height, width, *statistics))
            golden[f"tokens/{height}x{width}"] = tokens.contiguous()
            golden[f"layer0/{height}x{width}"] = first.contiguous()
            if logits is not None:
                golden[f"logits/{height}x{width}"] = logits.contiguous()
    (out / name).mkdir(parents=True, exist_ok=True)
    save_file(golden, str(out / name / "golden.safetensors"))


def hugging_face(name, model, sizes, statistics):
    def run(model, x):
        body = getattr(model, "vit", model)
        output = body(x, output_hidden_states=True, **({"interpolate_pos_encoding": True} if body is not model else {}))
        logits = model.classifier(output.last_hidden_state[:, 0]) if body is not model else None
        return output.last_hidden_state, output.hidden_states[1], logits

    write(name, model, run, sizes, statistics)
    model.save_pretrained(out / name)


hugging_face("dinov2", Dinov2Model(Dinov2Config(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=35, patch_size=7)), [(35, 35), (21, 28), (49, 42)], IMAGENET)
hugging_face(
    "dinov2-with-registers",
    Dinov2WithRegistersModel(Dinov2WithRegistersConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=35, patch_size=7, use_swiglu_ffn=True, num_register_tokens=3)),
    [(35, 35), (21, 28), (49, 42)],
    IMAGENET,
)
hugging_face(
    "vit",
    ViTForImageClassification(ViTConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40, image_size=32, patch_size=8, num_labels=5)),
    [(32, 32)],
    HALF,
)


class Block(torch.nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = torch.nn.LayerNorm(d, 1e-6), torch.nn.LayerNorm(d, 1e-6)
        self.attn, self.mlp = torch.nn.Module(), torch.nn.Module()
        self.attn.qkv, self.attn.proj = torch.nn.Linear(d, 3 * d), torch.nn.Linear(d, d)
        self.mlp.fc1, self.mlp.fc2 = torch.nn.Linear(d, 4 * d), torch.nn.Linear(4 * d, d)

    def forward(self, x):
        n, t, d = x.shape
        q, k, v = self.attn.qkv(self.norm1(x)).reshape(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.attn.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, d))
        return x + self.mlp.fc2(F.gelu(self.mlp.fc1(self.norm2(x))))


class Timm(torch.nn.Module):
    """A vision transformer under timm's names."""

    def __init__(self, d=16, depth=2, heads=2, patch=8, side=4, classes=5):
        super().__init__()
        self.side = side
        self.patch_embed = torch.nn.Module()
        self.patch_embed.proj = torch.nn.Conv2d(3, d, patch, patch)
        self.cls_token = torch.nn.Parameter(torch.zeros(1, 1, d))
        self.pos_embed = torch.nn.Parameter(torch.zeros(1, 1 + side * side, d))
        self.blocks = torch.nn.ModuleList(Block(d, heads) for _ in range(depth))
        self.norm = torch.nn.LayerNorm(d, 1e-6)
        self.head = torch.nn.Linear(d, classes)

    def forward(self, x):
        x = self.patch_embed.proj(x)
        grid = x.shape[2:]
        positions = self.pos_embed
        if grid != (self.side, self.side):
            square = positions[:, 1:].reshape(1, self.side, self.side, -1).permute(0, 3, 1, 2)
            resized = F.interpolate(square, size=grid, mode="bicubic", antialias=True)
            positions = torch.cat([positions[:, :1], resized.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], dim=1) + positions
        first = x = self.blocks[0](x)
        for block in self.blocks[1:]:
            x = block(x)
        x = self.norm(x)
        return x, first, self.head(x[:, 0])


timm = Timm()
write("timm", timm, lambda model, x: model(x), [(32, 32), (24, 16), (40, 48)], HALF)
save_file(timm.state_dict(), str(out / "timm" / "model.safetensors"))
(out / "timm" / "config.json").write_text(
    json.dumps(
        dict(architecture="vit_tiny_test", embed_dim=16, depth=2, num_heads=2, patch_size=8, image_size=32, mlp_ratio=4, num_classes=5, layer_norm_eps=1e-6, mean=HALF[0], std=HALF[1]),
        indent=1,
    )
)

torch.manual_seed(3)


def resample(positions, prefix, stored, grids):
    """Of a class token and a stored grid of rows and columns, to each grid in each way."""
    height, width = stored
    patches = positions[f"{prefix}pos_embed"][:, 1:].reshape(1, height, width, 4).permute(0, 3, 1, 2)
    for rows, columns in grids:
        by_scale = dict(scale_factor=((rows + 0.1) / height, (columns + 0.1) / width))
        for flavour, arguments in dict(timm=dict(size=(rows, columns), antialias=True), huggingface=dict(size=(rows, columns)), dinov2=by_scale).items():
            resized = F.interpolate(patches, mode="bicubic", align_corners=False, **arguments)
            assert resized.shape[2:] == (rows, columns)
            positions[f"{prefix}{flavour}/{rows}x{columns}"] = resized.permute(0, 2, 3, 1).flatten(1, 2).contiguous()


positions = {"pos_embed": torch.randn(1, 1 + 25, 4), "wide/pos_embed": torch.randn(1, 1 + 12, 4)}
resample(positions, "", (5, 5), [(3, 4), (7, 9), (2, 5), (16, 16), (1, 1)])
resample(positions, "wide/", (3, 4), [(5, 5), (4, 3), (3, 7)])
save_file(positions, str(out / "positions.safetensors"))
