"""Vision transformers of DINOv2's form at the resolution of their position embeddings, and Inception."""

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


def half(variant):
    """What a processor offers below float32: bfloat16, cast on the way or kept."""
    if variant == "bfloat16":
        return training.inference(small().bfloat16(), torch.randn(8, 3, 224, 224).bfloat16())
    step, parameters = forward(small, 8)(variant)
    return torch.autocast("cpu", torch.bfloat16)(step), parameters


def train(_):
    model, x = small(), torch.randn(8, 3, 224, 224)
    adam = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.05, fused=True)
    return training.training(model, lambda: model(x).square().mean(), adam)


def unit(i, o, k, stride=1, padding=0):
    """A convolution with its normalisation folded in, as for inference."""
    return nn.Sequential(nn.Conv2d(i, o, k, stride, padding), nn.ReLU(True))


def path(i, *layers):
    """Layers (channels, kernel) that keep the size of the map, or (channels, kernel, stride) without padding."""
    units = []
    for o, k, *stride in layers:
        kernel = k if isinstance(k, tuple) else (k, k)
        units.append(unit(i, o, kernel, *(stride or (1, (kernel[0] // 2, kernel[1] // 2)))))
        i = o
    return nn.Sequential(*units)


class Side(nn.ModuleList):
    def forward(self, x):
        return torch.cat([part(x) for part in self], 1)


def inception():
    """Inception v3 as FID has it: average pooling does not count the padding, the last block pools by maximum."""
    wide, tall, flat, high = (1, 7), (7, 1), (1, 3), (3, 1)

    def average():
        return nn.AvgPool2d(3, 1, 1, count_include_pad=False)

    def a(i, pooled):
        double = path(i, (64, 1), (96, 3), (96, 3))
        return Side([path(i, (64, 1)), path(i, (48, 1), (64, 5)), double, nn.Sequential(average(), path(i, (pooled, 1)))])

    def c(n):
        seven = path(768, (n, 1), (n, wide), (192, tall))
        double = path(768, (n, 1), (n, tall), (n, wide), (n, tall), (192, wide))
        return Side([path(768, (192, 1)), seven, double, nn.Sequential(average(), path(768, (192, 1)))])

    def e(i, pool):
        def fork():
            return Side([path(384, (384, flat)), path(384, (384, high))])

        three = nn.Sequential(path(i, (384, 1)), fork())
        double = nn.Sequential(path(i, (448, 1), (384, 3)), fork())
        return Side([path(i, (320, 1)), three, double, nn.Sequential(pool, path(i, (192, 1)))])

    return nn.Sequential(
        unit(3, 32, 3, 2),
        unit(32, 32, 3),
        unit(32, 64, 3, padding=1),
        nn.MaxPool2d(3, 2),
        unit(64, 80, 1),
        unit(80, 192, 3),
        nn.MaxPool2d(3, 2),
        *(a(192, 32), a(256, 64), a(288, 64)),
        Side([path(288, (384, 3, 2)), path(288, (64, 1), (96, 3), (96, 3, 2)), nn.MaxPool2d(3, 2)]),
        *(c(128), c(160), c(160), c(192)),
        Side(
            [
                path(768, (192, 1), (320, 3, 2)),
                path(768, (192, 1), (192, wide), (192, tall), (192, 3, 2)),
                nn.MaxPool2d(3, 2),
            ]
        ),
        e(1280, average()),
        e(2048, nn.MaxPool2d(3, 1, 1)),
        nn.AdaptiveAvgPool2d(1),
    )


def features(variant):
    return training.inference(*training.to_format(variant, inception(), torch.randn(8, 3, 299, 299)))


CASES = {
    "inception-features": (features, training.MEMORY_FORMATS),
    "vits14-forward": (forward(small, 8), [""]),
    "vitl14-forward": (forward(lambda: ViT(1024, 24, 16), 2), [""]),
    "vits14-forward-int8": (half, ["bfloat16", "bfloat16 autocast"]),
    "vits14-train": (train, [""]),
}
