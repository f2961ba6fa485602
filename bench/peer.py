"""The PyTorch side of bench/engine.ts: prints the median milliseconds of one case.

    python peer.py CASE THREADS REPEATS

Plain modules of the same shapes with random weights, written for speed as PyTorch users write them:
fused scaled_dot_product_attention, fused AdamW, and for convolutions the better of both memory formats.
"""

import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(d, eps=1e-6), nn.LayerNorm(d, eps=1e-6)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.ls1, self.ls2 = nn.Parameter(torch.ones(d)), nn.Parameter(torch.ones(d))
        self.fc1, self.fc2 = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, d)
        x = x + self.ls1 * self.proj(a)
        return x + self.ls2 * self.fc2(F.gelu(self.fc1(self.norm2(x))))


class ViT(nn.Module):
    """DINOv2 ViT-S/14 on 224x224."""

    def __init__(self, d=384, depth=12, heads=6):
        super().__init__()
        self.patch = nn.Conv2d(3, d, 14, 14)
        self.cls, self.pos = nn.Parameter(torch.zeros(1, 1, d)), nn.Parameter(torch.randn(1, 257, d) * 0.02)
        self.blocks = nn.Sequential(*[Block(d, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(d, eps=1e-6)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos
        return self.norm(self.blocks(x))


class Residual(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(32, i, 1e-6), nn.Conv2d(i, o, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(32, o, 1e-6), nn.Conv2d(o, o, 3, padding=1)
        self.short = nn.Conv2d(i, o, 1) if i != o else nn.Identity()

    def forward(self, x):
        h = self.conv1(F.silu(self.norm1(x)))
        return self.short(x) + self.conv2(F.silu(self.norm2(h)))


class Attend(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm = nn.GroupNorm(32, c, 1e-6)
        self.q, self.k, self.v, self.out = (nn.Conv2d(c, c, 1) for _ in range(4))

    def forward(self, x):
        n, c, h, w = x.shape
        y = self.norm(x)
        q, k, v = (f(y).reshape(n, 1, c, h * w).transpose(2, 3) for f in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(n, c, h, w)
        return x + self.out(y)


class Upsample(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


def decoder(z=16, ch=64, mults=(1, 1, 2, 4), blocks=2, attention=(3,)):
    width = ch * mults[-1]
    layers = [nn.Conv2d(z, z, 1), nn.Conv2d(z, width, 3, padding=1)]
    layers += [Residual(width, width), Attend(width), Residual(width, width)]
    for level in reversed(range(len(mults))):
        for _ in range(blocks + 1):
            layers.append(Residual(width, ch * mults[level]))
            width = ch * mults[level]
            if level in attention:
                layers.append(Attend(width))
        if level > 0:
            layers.append(Upsample(width))
    layers += [nn.GroupNorm(32, width, 1e-6), nn.SiLU(), nn.Conv2d(width, 3, 3, padding=1)]
    return nn.Sequential(*layers)


def measure(model, x, train, optimizer, repeats):
    adam = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.05, fused=True) if optimizer else None

    def step():
        if not train:
            with torch.inference_mode():
                return model(x)
        model.zero_grad(set_to_none=True)
        model(x).square().mean().backward()
        if adam:
            adam.step()

    step()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def main():
    case, threads, repeats = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    train = case.endswith("train")
    if case.startswith("vits14"):
        print(measure(ViT(), torch.randn(8, 3, 224, 224), train, train, repeats))
        return
    model, x = decoder(), torch.randn(4, 16, 16, 16)
    plain = measure(model, x, train, False, repeats)
    last = measure(model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last), train, False, repeats)
    print(min(plain, last))


main()
