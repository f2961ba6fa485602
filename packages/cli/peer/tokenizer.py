"""LDM's decoder, PatchGAN and LPIPS on VGG16."""

import torch
import torch.nn as nn
import torch.nn.functional as F

import training


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


class Decoder(nn.Module):
    def __init__(self, z, ch, mults, blocks, attention=(), shuffle=1):
        super().__init__()
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
        self.body = nn.Sequential(*layers, nn.GroupNorm(32, width, 1e-6), nn.SiLU())
        self.last = nn.Conv2d(width, 3 * shuffle**2, 3, padding=1)
        self.shuffle = shuffle

    def head(self, hidden):
        x = self.last(hidden)
        return F.pixel_shuffle(x, self.shuffle) if self.shuffle > 1 else x

    def forward(self, x):
        return self.head(self.body(x))


def patch_gan(ch):
    def layer(i, o, stride):
        return [nn.Conv2d(i, o, 4, stride, 1, bias=False), nn.BatchNorm2d(o), nn.LeakyReLU(0.2, True)]

    return nn.Sequential(
        nn.Conv2d(3, ch, 4, 2, 1),
        nn.LeakyReLU(0.2, True),
        *layer(ch, 2 * ch, 2),
        *layer(2 * ch, 4 * ch, 2),
        *layer(4 * ch, 8 * ch, 1),
        nn.Conv2d(8 * ch, 1, 4, 1, 1),
    )


class Lpips(nn.Module):
    def __init__(self):
        super().__init__()
        self.stages, self.heads, width = nn.ModuleList(), nn.ModuleList(), 3
        for stage, (convs, o) in enumerate([(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)]):
            layers = [nn.MaxPool2d(2)] if stage else []
            for _ in range(convs):
                layers += [nn.Conv2d(width, o, 3, padding=1), nn.ReLU(True)]
                width = o
            self.stages.append(nn.Sequential(*layers))
            self.heads.append(nn.Conv2d(o, 1, 1, bias=False))
        self.register_buffer("shift", torch.tensor([-0.03, -0.088, -0.188])[:, None, None])
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.45])[:, None, None])
        self.requires_grad_(False)

    def features(self, x):
        x, maps = (x - self.shift) / self.scale, []
        for stage in self.stages:
            x = stage(x)
            maps.append(x / (x.square().sum(1, True) + 1e-20).sqrt())
        return maps

    def forward(self, x, y):
        with torch.no_grad():
            truth = self.features(y)
        pairs = zip(self.heads, self.features(x), truth)
        return sum(head((a - b).square()).mean((2, 3)) for head, a, b in pairs).mean()


def hinge(real, fake):
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())


def adam(*modules):
    return torch.optim.Adam([p for m in modules for p in m.parameters()], lr=1e-5, betas=(0.5, 0.9), fused=True)


def small():
    return Decoder(16, 64, (1, 1, 2, 4), 2, (3,)), torch.randn(4, 16, 16, 16)


def large():
    return Decoder(32, 128, (1, 1, 2, 2, 4), 2, (4,)), torch.randn(1, 32, 16, 16)


def forward(build):
    return lambda variant: training.inference(*training.to_format(variant, *build()))


def train(build):
    def prepare(variant):
        model, x = training.to_format(variant, *build())
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.05, fused=True)
        return training.training(model, lambda: model(x).square().mean(), optimizer)

    return prepare


def judged_images(variant):
    judge, lpips = patch_gan(64), Lpips()
    image, truth = torch.randn(2, 2, 3, 256, 256) * 0.5
    judge, lpips, image, truth = training.to_format(variant, judge, lpips, image, truth)
    image.requires_grad_()
    optimizer = adam(judge)

    def step():
        torch.autograd.grad(lpips(image, truth) - 0.5 * judge(image).mean(), image)
        optimizer.zero_grad(set_to_none=True)
        hinge(judge(truth), judge(image.detach())).backward()
        optimizer.step()

    return step, training.count(judge)


CASES = {
    "decoder-9m-forward": (forward(small), training.MEMORY_FORMATS),
    "decoder-9m-train": (train(small), training.MEMORY_FORMATS),
    "decoder-42m-forward": (forward(large), training.MEMORY_FORMATS),
    "decoder-42m-train": (train(large), training.MEMORY_FORMATS),
    "patchgan-lpips-step": (judged_images, training.MEMORY_FORMATS),
}
