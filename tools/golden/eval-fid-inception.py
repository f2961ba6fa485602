"""Golden features of the Inception network for packages/eval-fid, by a plain PyTorch implementation.

    python tools/golden/eval-fid-inception.py packages/eval-fid/test/fixtures

Convolutions, normalisations and pooling as pytorch-fid b9c1811 has them, under its names. Weights are a function of their
names and places (`values`), which the test repeats, so that 95 MB of them need not be kept. Needs torch.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


class Unit(nn.Module):
    def __init__(self, i, o, k, stride=1, padding=0):
        super().__init__()
        self.conv = nn.Conv2d(i, o, k, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(o, eps=0.001)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


def average(x):
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def halve(x):
    return F.max_pool2d(x, 3, 2)


class A(nn.Module):
    def __init__(self, i, pooled):
        super().__init__()
        self.branch1x1 = Unit(i, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = Unit(i, 48, 1), Unit(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Unit(i, 64, 1)
        self.branch3x3dbl_2, self.branch3x3dbl_3 = Unit(64, 96, 3, padding=1), Unit(96, 96, 3, padding=1)
        self.branch_pool = Unit(i, pooled, 1)

    def forward(self, x):
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(average(x))], 1)


class B(nn.Module):
    def __init__(self, i):
        super().__init__()
        self.branch3x3 = Unit(i, 384, 3, 2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Unit(i, 64, 1), Unit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Unit(96, 96, 3, 2)

    def forward(self, x):
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, halve(x)], 1)


class C(nn.Module):
    def __init__(self, c):
        super().__init__()
        wide, tall = dict(k=(1, 7), padding=(0, 3)), dict(k=(7, 1), padding=(3, 0))
        self.branch1x1 = Unit(768, 192, 1)
        self.branch7x7_1, self.branch7x7_2, self.branch7x7_3 = Unit(768, c, 1), Unit(c, c, **wide), Unit(c, 192, **tall)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = Unit(768, c, 1), Unit(c, c, **tall)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = Unit(c, c, **wide), Unit(c, c, **tall)
        self.branch7x7dbl_5 = Unit(c, 192, **wide)
        self.branch_pool = Unit(768, 192, 1)

    def forward(self, x):
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(average(x))], 1)


class D(nn.Module):
    def __init__(self):
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Unit(768, 192, 1), Unit(192, 320, 3, 2)
        self.branch7x7x3_1, self.branch7x7x3_2 = Unit(768, 192, 1), Unit(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3, self.branch7x7x3_4 = Unit(192, 192, (7, 1), padding=(3, 0)), Unit(192, 192, 3, 2)

    def forward(self, x):
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, halve(x)], 1)


class E(nn.Module):
    def __init__(self, i, pool):
        super().__init__()
        self.pool = pool
        wide, tall = dict(k=(1, 3), padding=(0, 1)), dict(k=(3, 1), padding=(1, 0))
        self.branch1x1 = Unit(i, 320, 1)
        self.branch3x3_1 = Unit(i, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = Unit(384, 384, **wide), Unit(384, 384, **tall)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Unit(i, 448, 1), Unit(448, 384, 3, padding=1)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = Unit(384, 384, **wide), Unit(384, 384, **tall)
        self.branch_pool = Unit(i, 192, 1)

    def forward(self, x):
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        parts = [self.branch1x1(x), self.branch3x3_2a(three), self.branch3x3_2b(three)]
        parts += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(self.pool(x))]
        return torch.cat(parts, 1)


class Inception(nn.Module):
    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3, self.Conv2d_2a_3x3 = Unit(3, 32, 3, 2), Unit(32, 32, 3)
        self.Conv2d_2b_3x3 = Unit(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1, self.Conv2d_4a_3x3 = Unit(64, 80, 1), Unit(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = A(192, 32), A(256, 64), A(288, 64)
        self.Mixed_6a = B(288)
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = C(128), C(160), C(160), C(192)
        self.Mixed_7a, self.Mixed_7b = D(), E(1280, average)
        self.Mixed_7c = E(2048, lambda x: F.max_pool2d(x, 3, 1, 1))
        self.fc = nn.Linear(2048, 1008)

    def forward(self, x):
        x = halve(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = halve(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        for name, module in self.named_children():
            if name.startswith("Mixed"):
                x = module(x)
        return x.mean((2, 3))


def values(name, count):
    """Numbers in [-1, 1) by the finalizer of murmur3 over places, seeded by the name's letters."""
    seed = np.uint32(sum((i + 1) * ord(letter) for i, letter in enumerate(name)))
    h = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1) + seed
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)
    return torch.from_numpy(h.astype(np.float64) / 2**31 - 1)


@torch.no_grad()
def main():
    model = Inception().eval()
    state = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    for name, tensor in state.items():
        raw = values(name, tensor.numel()).reshape(tensor.shape)
        if name.endswith("conv.weight"):
            raw = raw * (6 / tensor[0].numel()) ** 0.5
        elif name.endswith(("bn.weight", "running_var")):
            raw = 1 + 0.2 * raw
        else:
            raw = 0.1 * raw
        tensor.copy_(raw.float())
    with torch.inference_mode():
        features = model(values("images", 2 * 3 * 123 * 91).float().reshape(2, 3, 123, 91))
    shapes = {name: list(tensor.shape) for name, tensor in state.items()}
    golden = {
        "tensors": len(shapes),
        "elements": sum(t.numel() for t in state.values()),
        "shapes": {name: shapes[name] for name in list(shapes)[::9]},
        "features": [round(x, 6) for x in features.flatten().tolist()],
    }
    Path(sys.argv[1], "inception.json").write_text(json.dumps(golden))
    print(golden["tensors"], golden["elements"], features.mean(), features.std(), features.min(), features.max())


main()
