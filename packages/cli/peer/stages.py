"""The stages once their discriminator has started, as src/stages.ts of @aligntok/aligntok: small and at the paper's size."""

import copy
from dataclasses import dataclass
from typing import Callable

import torch
import torch.nn as nn
import torch.nn.functional as F

import training
from encoders import ViT
from tokenizer import Decoder, Lpips, adam, hinge, patch_gan


@dataclass
class Setting:
    encoder: nn.Module
    decoder: nn.Module
    judge: nn.Module
    images: torch.Tensor
    width: int
    """Images in [-1, 1] to what the encoder takes."""
    prepare: Callable
    """A module whose `forward(x, y)` is the perceptual distance."""
    perceptual: nn.Module
    perceptual_weight: float
    judge_weight: float
    ema: float
    """Whether what frozen networks give has been computed once."""
    cached: bool


class Features(nn.Module):
    """Distance of frozen features of a ViT: its own after blocks 1, 3 and 4."""

    def __init__(self, vit, prepare):
        super().__init__()
        self.vit, self.prepare = vit.requires_grad_(False), prepare

    def features(self, x):
        tokens, maps = self.vit.embed(self.prepare(x)), []
        for i, block in enumerate(self.vit.blocks[:5]):
            tokens = block(tokens)
            if i in (1, 3, 4):
                maps.append(tokens / (tokens.square().mean(-1, True) + 1e-6).sqrt())
        return maps

    def forward(self, x, y):
        with torch.no_grad():
            truth = self.features(y)
        return sum(F.mse_loss(a, b) for a, b in zip(self.features(x), truth)) / 3


def quickstart():
    def prepare(x):
        return (x * 0.5 + 0.5 - 0.5) / 0.5

    encoder, frozen = (ViT(192, 6, 3, 16, 128, layer_scale=False) for _ in range(2))
    return Setting(
        encoder=encoder,
        decoder=Decoder(32, 64, (1, 2, 2), 1, shuffle=4),
        judge=patch_gan(16),
        images=torch.randn(16, 3, 128, 128) * 0.5,
        width=192,
        prepare=prepare,
        perceptual=Features(frozen, prepare),
        perceptual_weight=0.1,
        judge_weight=0.1,
        ema=0.99,
        cached=True,
    )


def paper():
    mean, deviation = (torch.tensor(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))

    def prepare(x):
        resized = F.interpolate(x, (224, 224), mode="bilinear", align_corners=False)
        return (resized * 0.5 + 0.5 - mean) / deviation

    return Setting(
        encoder=ViT(1024, 24, 16),
        decoder=Decoder(32, 128, (1, 1, 2, 2, 4), 2, (4,)),
        judge=patch_gan(64),
        images=torch.randn(1, 3, 256, 256) * 0.5,
        width=1024,
        prepare=prepare,
        perceptual=Lpips(),
        perceptual_weight=1,
        judge_weight=0.5,
        ema=0.9999,
        cached=False,
    )


def stage(number, build):
    """One backward pass of the decoder: gradients of both judges at the image, their lengths at its last weight."""

    def step_of(variant):
        setting = build()
        setting.encoder, setting.decoder, setting.judge, setting.perceptual, images = training.to_format(
            variant, setting.encoder, setting.decoder, setting.judge, setting.perceptual, setting.images
        )
        encoder, decoder, judge, width = setting.encoder, setting.decoder, setting.judge, setting.width
        adapter = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 32))
        n, side = len(images), images.shape[-1] // 16
        snapshot = copy.deepcopy((encoder, adapter)) if number == 2 and not setting.cached else None
        kept = torch.randn(n, side**2, width if number == 1 else 32)
        trained = nn.ModuleList([[adapter, decoder], [encoder, adapter, decoder], [decoder]][number - 1])
        optimizer, judge_optimizer = adam(trained), adam(judge)
        ema = training.moving_average(trained, setting.ema) if number == 2 else lambda: None

        def features(encoder):
            return encoder(setting.prepare(images))[:, 1:]

        @torch.no_grad()
        def given():
            """What no gradient reaches: features in stage 1, latents of the snapshot in 2, latents in 3."""
            if setting.cached:
                return kept
            if number == 1:
                return features(encoder)
            frozen, adapt = snapshot or (encoder, adapter)
            return adapt(features(frozen))

        def step():
            optimizer.zero_grad(set_to_none=True)
            constant = given()
            latents = [lambda: adapter(constant), lambda: adapter(features(encoder)), lambda: constant][number - 1]()
            maps = latents.transpose(1, 2).reshape(n, 32, side, side)
            hidden = decoder.body(maps)
            image = decoder.head(hidden)
            seen = image.detach().requires_grad_()
            distance = setting.perceptual(seen, images)
            (to_truth,) = torch.autograd.grad(F.l1_loss(seen, images) + setting.perceptual_weight * distance, seen)
            (to_real,) = torch.autograd.grad(-judge(seen).mean(), seen)

            def length(pull):
                if decoder.shuffle > 1:
                    pull = F.pixel_unshuffle(pull, decoder.shuffle)
                return torch.nn.grad.conv2d_weight(hidden.detach(), decoder.last.weight.shape, pull, padding=1).norm()

            weight = (length(to_truth) / (length(to_real) + 1e-4)).clamp(0, 1e4) * setting.judge_weight
            pull = to_truth + weight * to_real
            if number == 2:
                torch.autograd.backward([image, F.mse_loss(latents, constant)], [pull, None])
            else:
                image.backward(pull)
            optimizer.step()
            ema()
            judge_optimizer.zero_grad(set_to_none=True)
            hinge(judge(images), judge(seen.detach())).backward()
            judge_optimizer.step()

        return step, training.count(trained, judge)

    return step_of


CASES = {
    f"stage{number}-{size}step": (stage(number, build), training.MEMORY_FORMATS)
    for size, build in (("", quickstart), ("paper-", paper))
    for number in (1, 2, 3)
}
