"""Vision transformers of DINOv2's form, at the resolution of their position embeddings."""

import torch
import torch.nn as nn
import torch.nn.functional as F

import training


class Block(nn.Module):
    def __init__(self, d, heads, layer_scale):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(d, eps=1e-6), nn.LayerNorm(d, eps=1e-6)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.fc1, self.fc2 = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        self.layer_scale = layer_scale
        if layer_scale:
            self.ls1, self.ls2 = nn.Parameter(torch.ones(d)), nn.Parameter(torch.ones(d))

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        a = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, d))
        x = x + (self.ls1 * a if self.layer_scale else a)
        h = self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return x + (self.ls2 * h if self.layer_scale else h)


class ViT(nn.Module):
    def __init__(self, d, depth, heads, patch=14, size=224, layer_scale=True):
        super().__init__()
        self.patch = nn.Conv2d(3, d, patch, patch)
        tokens = (size // patch) ** 2 + 1
        self.cls, self.pos = nn.Parameter(torch.randn(1, 1, d) * 0.02), nn.Parameter(torch.randn(1, tokens, d) * 0.02)
        self.blocks = nn.ModuleList([Block(d, heads, layer_scale) for _ in range(depth)])
        self.norm = nn.LayerNorm(d, eps=1e-6)

    def embed(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        return torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos

    def forward(self, x):
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


def small():
    return ViT(384, 12, 6)


def forward(build, images):
    return lambda _: training.inference(build(), torch.randn(images, 3, 224, 224))


def train(_):
    model, x = small(), torch.randn(8, 3, 224, 224)
    adam = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.05, fused=True)
    return training.training(model, lambda: model(x).square().mean(), adam)


CASES = {
    "vits14-forward": (forward(small, 8), [""]),
    "vitl14-forward": (forward(lambda: ViT(1024, 24, 16), 2), [""]),
    "vits14-train": (train, [""]),
}
