"""LightningDiT-B/1 with RMSNorm, SwiGLU and rotary embeddings, as released for 256-pixel ImageNet."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

import training

WIDTH, DEPTH, HEADS, SIDE, CHANNELS, CLASSES = 768, 12, 12, 16, 32, 1000


def rotate(x, cos, sin):
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    return x * cos + torch.stack((-b, a), -1).flatten(-2) * sin


def modulate(x, shift, scale):
    return x * (1 + scale) + shift


class SwiGLU(nn.Module):
    def __init__(self, d):
        super().__init__()
        hidden = int(2 / 3 * 4 * d)
        self.w12, self.w3 = nn.Linear(d, 2 * hidden), nn.Linear(hidden, d)

    def forward(self, x):
        a, b = self.w12(x).chunk(2, -1)
        return self.w3(F.silu(a) * b)


class Block(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(d, eps=1e-6), nn.RMSNorm(d, eps=1e-6)
        self.qkv, self.proj, self.mlp = nn.Linear(d, 3 * d), nn.Linear(d, d), SwiGLU(d)
        self.modulation = nn.Linear(d, 6 * d)

    def forward(self, x, c, cos, sin):
        b, t, d = x.shape
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(c)[:, None].chunk(6, -1)
        y = modulate(self.norm1(x), shift1, scale1)
        q, k, v = self.qkv(y).reshape(b, t, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v)
        x = x + gate1 * self.proj(a.transpose(1, 2).reshape(b, t, d))
        return x + gate2 * self.mlp(modulate(self.norm2(x), shift2, scale2))


class LightningDiT(nn.Module):
    def __init__(self, d=WIDTH):
        super().__init__()
        self.patch = nn.Conv2d(CHANNELS, d, 1)
        self.register_buffer("pos", torch.randn(1, SIDE**2, d) * 0.02)
        self.time = nn.Sequential(nn.Linear(256, d), nn.SiLU(), nn.Linear(d, d))
        self.label = nn.Embedding(CLASSES + 1, d)
        self.blocks = nn.ModuleList([Block(d) for _ in range(DEPTH)])
        self.norm, self.modulation, self.out = nn.RMSNorm(d, eps=1e-6), nn.Linear(d, 2 * d), nn.Linear(d, CHANNELS)
        angles = torch.rand(SIDE**2, d // HEADS)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())
        self.register_buffer("frequencies", torch.exp(-math.log(10000) * torch.arange(128) / 128))

    def forward(self, x, t, y):
        h = self.patch(x).flatten(2).transpose(1, 2) + self.pos
        angles = t[:, None] * self.frequencies
        c = F.silu(self.time(torch.cat([angles.cos(), angles.sin()], -1)) + self.label(y))
        for block in self.blocks:
            h = block(h, c, self.cos, self.sin)
        shift, scale = self.modulation(c)[:, None].chunk(2, -1)
        h = self.out(modulate(self.norm(h), shift, scale))
        return h.transpose(1, 2).reshape(-1, CHANNELS, SIDE, SIDE)


def inputs():
    latents, noise = torch.randn(2, 4, CHANNELS, SIDE, SIDE)
    return latents, noise, torch.tensor([0.1, 0.4, 0.6, 0.9]), torch.tensor([1, 207, 360, 1000])


def train(_):
    model = LightningDiT()
    latents, noise, times, labels = inputs()
    adam = torch.optim.AdamW(model.parameters(), lr=1e-5, betas=(0.9, 0.95), weight_decay=0, fused=True)

    def loss():
        t = times[:, None, None, None]
        v = model(latents * t + noise * (1 - t), times, labels)
        return F.mse_loss(v, latents - noise)

    return training.training(model, loss, adam, training.moving_average(model, 0.9999))


def sample(_):
    """An Euler step with both halves of the guidance in one batch; guidance on three channels, as upstream."""
    model = LightningDiT()
    _, noise, _, labels = inputs()
    both = torch.cat([labels, torch.full_like(labels, CLASSES)])

    @torch.inference_mode()
    def step():
        v = model(torch.cat([noise, noise]), torch.zeros(8), both)
        conditional, unconditional = v.chunk(2)
        guided = unconditional + 4 * (conditional - unconditional)
        return noise + torch.cat([guided[:, :3], conditional[:, 3:]], 1)

    return step, training.count(model)


CASES = {
    "lightningdit-b1-train": (train, [""]),
    "lightningdit-b1-sample": (sample, [""]),
}
