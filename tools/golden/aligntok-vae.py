"""Golden values of the baseline autoencoders for packages/aligntok, in plain PyTorch.

    python tools/golden/aligntok-vae.py packages/aligntok/test/fixtures/vae
    (PyTorch 2.13, safetensors)

Tiny random models, each with `weights/*` under its upstream's keys, `images`, and what it makes of them: the autoencoder of
LDM, of FLUX (no convolution beside the latents) and of diffusers (its own keys and order of levels), a tiny
autoencoder, the losses of VA-VAE with their gradients, and weights after whole steps of Adam. `keys-*.txt` are names and shapes of published
checkpoints, of modules of their size that hold no data: `name 64x3x3x3` on each line, `-` for scalars. Those of VA-VAE are
the ones of upstream's own classes: hustvl/LightningDiT at 2725fed with CompVis/taming-transformers at 3ba01b2 and timm.
"""

import copy
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from random_streams import normals

out = Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
GROUPS = 32


def norm(width):
    return nn.GroupNorm(GROUPS, width, eps=1e-6)


def named(**modules):
    module = nn.Module()
    for name, child in modules.items():
        setattr(module, name, child)
    return module


class Residual(nn.Module):
    shortcut = "nin_shortcut"

    def __init__(self, inputs, outputs):
        super().__init__()
        self.norm1, self.conv1 = norm(inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2, self.conv2 = norm(outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        if inputs != outputs:
            setattr(self, self.shortcut, nn.Conv2d(inputs, outputs, 1))

    def forward(self, x):
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (getattr(self, self.shortcut)(x) if hasattr(self, self.shortcut) else x)


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = norm(width)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x):
        q, k, v = (f(self.norm(x)).flatten(2) for f in (self.q, self.k, self.v))
        weights = torch.softmax(torch.einsum("nci,ncj->nij", q, k) / q.shape[1] ** 0.5, -1)
        return x + self.proj_out(torch.einsum("nij,ncj->nci", weights, v).reshape(x.shape))


def middle(width):
    return named(block_1=Residual(width, width), attn_1=Attention(width), block_2=Residual(width, width))


class Encoder(nn.Module):
    def __init__(self, channels, multipliers, blocks, attention, latent):
        super().__init__()
        self.conv_in = nn.Conv2d(3, channels, 3, padding=1)
        width, self.down = channels, nn.ModuleList()
        for level, multiplier in enumerate(multipliers):
            down = named(block=nn.ModuleList(), attn=nn.ModuleList())
            for _ in range(blocks):
                down.block.append(Residual(width, channels * multiplier))
                width = channels * multiplier
                if level in attention:
                    down.attn.append(Attention(width))
            if level < len(multipliers) - 1:
                down.downsample = named(conv=nn.Conv2d(width, width, 3, stride=2))
            self.down.append(down)
        self.mid, self.norm_out = middle(width), norm(width)
        self.conv_out = nn.Conv2d(width, 2 * latent, 3, padding=1)

    def forward(self, x):
        x = self.conv_in(x)
        for down in self.down:
            for i, block in enumerate(down.block):
                x = block(x)
                if len(down.attn):
                    x = down.attn[i](x)
            if hasattr(down, "downsample"):
                x = down.downsample.conv(F.pad(x, (0, 1, 0, 1)))
        x = self.mid.block_2(self.mid.attn_1(self.mid.block_1(x)))
        return self.conv_out(F.silu(self.norm_out(x)))


class Decoder(nn.Module):
    def __init__(self, channels, multipliers, blocks, attention, latent):
        super().__init__()
        width = channels * multipliers[-1]
        self.conv_in, self.mid = nn.Conv2d(latent, width, 3, padding=1), middle(width)
        levels = []
        for level in reversed(range(len(multipliers))):
            up = named(block=nn.ModuleList(), attn=nn.ModuleList())
            for _ in range(blocks + 1):
                up.block.append(Residual(width, channels * multipliers[level]))
                width = channels * multipliers[level]
                if level in attention:
                    up.attn.append(Attention(width))
            if level:
                up.upsample = named(conv=nn.Conv2d(width, width, 3, padding=1))
            levels.insert(0, up)
        self.up, self.norm_out = nn.ModuleList(levels), norm(width)
        self.conv_out = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, z):
        x = self.conv_in(z)
        x = self.mid.block_2(self.mid.attn_1(self.mid.block_1(x)))
        for up in reversed(self.up):
            for i, block in enumerate(up.block):
                x = block(x)
                if len(up.attn):
                    x = up.attn[i](x)
            if hasattr(up, "upsample"):
                x = up.upsample.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.conv_out(F.silu(self.norm_out(x)))


class Autoencoder(nn.Module):
    def __init__(self, channels, multipliers, blocks, attention, latent, quant=True):
        super().__init__()
        sizes = channels, multipliers, blocks, attention, latent
        self.encoder, self.decoder = Encoder(*sizes), Decoder(*sizes)
        if quant:
            self.quant_conv = nn.Conv2d(2 * latent, 2 * latent, 1)
            self.post_quant_conv = nn.Conv2d(latent, latent, 1)

    def encode(self, images):
        moments = self.encoder(images)
        if hasattr(self, "quant_conv"):
            moments = self.quant_conv(moments)
        mean, log_variance = moments.chunk(2, 1)
        return mean, log_variance.clamp(-30, 20)

    def decode(self, z):
        return self.decoder(self.post_quant_conv(z) if hasattr(self, "post_quant_conv") else z)


class DiffusersResidual(Residual):
    shortcut = "conv_shortcut"


class DiffusersAttention(nn.Module):
    """`matrices`: linear layers under `to_q`; otherwise the older `query`, of the same shapes."""

    def __init__(self, width, matrices):
        super().__init__()
        self.group_norm = norm(width)
        self.names = ("to_q", "to_k", "to_v") if matrices else ("query", "key", "value")
        for name in self.names:
            setattr(self, name, nn.Linear(width, width))
        if matrices:
            self.to_out = nn.ModuleList([nn.Linear(width, width), nn.Dropout(0)])
        else:
            self.proj_attn = nn.Linear(width, width)

    def forward(self, x):
        tokens = self.group_norm(x).flatten(2).transpose(1, 2)
        q, k, v = (getattr(self, name)(tokens)[:, None] for name in self.names)
        mixed = F.scaled_dot_product_attention(q, k, v)[:, 0]
        mixed = self.to_out[0](mixed) if hasattr(self, "to_out") else self.proj_attn(mixed)
        return x + mixed.transpose(1, 2).reshape(x.shape)


class DiffusersHalf(nn.Module):
    """Encoder or decoder: levels in calling order, each `resnets` and a sampler."""

    def __init__(self, widths, blocks, inputs, outputs, kind, matrices):
        super().__init__()
        self.kind = kind
        levels, width = nn.ModuleList(), widths[0]
        self.conv_in = nn.Conv2d(inputs, width, 3, padding=1)
        setattr(self, f"{kind}_blocks", levels)
        for level, target in enumerate(widths):
            resnets = nn.ModuleList()
            for _ in range(blocks):
                resnets.append(DiffusersResidual(width, target))
                width = target
            entry = named(resnets=resnets)
            if level < len(widths) - 1:
                options = {"stride": 2} if kind == "down" else {"padding": 1}
                sampler = named(conv=nn.Conv2d(width, width, 3, **options))
                setattr(entry, f"{kind}samplers", nn.ModuleList([sampler]))
            levels.append(entry)
        middle_width = widths[-1] if kind == "down" else widths[0]
        self.mid_block = named(
            attentions=nn.ModuleList([DiffusersAttention(middle_width, matrices)]),
            resnets=nn.ModuleList(DiffusersResidual(middle_width, middle_width) for _ in range(2)),
        )
        self.conv_norm_out = norm(width)
        self.conv_out = nn.Conv2d(width, outputs, 3, padding=1)

    def middle(self, x):
        first, second = self.mid_block.resnets
        return second(self.mid_block.attentions[0](first(x)))

    def forward(self, x):
        x = self.conv_in(x)
        if self.kind == "up":
            x = self.middle(x)
        for level in getattr(self, f"{self.kind}_blocks"):
            for block in level.resnets:
                x = block(x)
            if hasattr(level, "downsamplers"):
                x = level.downsamplers[0].conv(F.pad(x, (0, 1, 0, 1)))
            if hasattr(level, "upsamplers"):
                x = level.upsamplers[0].conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        if self.kind == "down":
            x = self.middle(x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class DiffusersAutoencoder(nn.Module):
    def __init__(self, widths, blocks, latent, matrices=True):
        super().__init__()
        self.encoder = DiffusersHalf(widths, blocks, 3, 2 * latent, "down", matrices)
        self.decoder = DiffusersHalf(widths[::-1], blocks + 1, latent, 3, "up", matrices)
        self.quant_conv = nn.Conv2d(2 * latent, 2 * latent, 1)
        self.post_quant_conv = nn.Conv2d(latent, latent, 1)

    encode, decode = Autoencoder.encode, Autoencoder.decode


def conv3(inputs, outputs, **options):
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


class TinyBlock(nn.Module):
    def __init__(self, width, pooled):
        super().__init__()
        self.conv = nn.Sequential(conv3(width, width), nn.ReLU(), conv3(width, width), nn.ReLU(), conv3(width, width))
        if pooled:
            narrow = lambda i, o: nn.Conv2d(i, o, 1, bias=False)
            self.pool = nn.Sequential(narrow(width, 4 * width), nn.GroupNorm(4, 4 * width), nn.ReLU(), narrow(4 * width, width))

    def forward(self, x):
        x = x + self.pool(x) if hasattr(self, "pool") else x
        return F.relu(self.conv(x) + x)


class TinyClamp(nn.Module):
    def forward(self, x):
        return 3 * torch.tanh(x / 3)


class TinyAutoencoder(nn.Module):
    def __init__(self, latent, width=64, pooled=False):
        super().__init__()
        blocks = lambda count, pool=False: [TinyBlock(width, pool) for _ in range(count)]
        down = lambda: [conv3(width, width, stride=2, bias=False)]
        up = lambda: [nn.Upsample(scale_factor=2), conv3(width, width, bias=False)]
        self.encoder = nn.Sequential(
            conv3(3, width), *blocks(1), *down(), *blocks(3), *down(), *blocks(3), *down(), *blocks(3, pooled),
            conv3(width, latent),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            TinyClamp(), conv3(latent, width), nn.ReLU(), *blocks(3, pooled), *up(), *blocks(3), *up(), *blocks(3), *up(),
            *blocks(1), conv3(width, 3),
        )  # fmt: skip


def randomise(module):
    """Norms and biases away from 1 and 0, so that they count."""
    for parameter in module.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, 0.5, 0.3)


def save(name, tensors):
    save_file({k: v.detach().contiguous().clone() for k, v in tensors.items()}, out / f"{name}.safetensors")


def weights_of(module):
    return {f"weights/{k}": v for k, v in module.state_dict().items()}


def save_autoencoder(name, model, images):
    mean, log_variance = model.encode(images)
    outputs = {"mean": mean, "logVariance": log_variance, "image": model.decode(mean)}
    save(name, {**weights_of(model), "images": images, **outputs})


def losses(model, images):
    """VA-VAE's terms, each a mean over values where upstream sums over pixels and divides by the batch."""
    n, values = len(images), images[0].numel()
    mean, log_variance = model.encode(images)
    noise, features = torch.randn_like(mean), torch.randn(n, 6, *mean.shape[2:])
    projection = nn.Conv2d(mean.shape[1], 6, 1, bias=False)
    z = mean + torch.exp(0.5 * log_variance) * noise
    reconstruction = (model.decode(z) - images).abs().mean()
    kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum() / n / values
    projected = projection(z)
    cosine = F.relu(1 - 0.5 - F.cosine_similarity(features, projected)).mean()
    similarities = lambda x: torch.einsum("nci,ncj->nij", *[F.normalize(x.flatten(2), dim=1)] * 2)
    distance = F.relu((similarities(projected) - similarities(features)).abs() - 0.25).mean()
    vision = cosine + distance
    last = model.encoder.conv_out.weight
    length = lambda loss: torch.autograd.grad(loss, last, retain_graph=True)[0].norm()
    weight = (0.1 * (length(reconstruction) / (length(vision) + 1e-4)).clamp(0, 1e8)).detach()
    total = reconstruction + 0.3 * kl + weight * vision
    trained = {**dict(model.named_parameters()), "linear_proj.weight": projection.weight}
    gradients = torch.autograd.grad(total, list(trained.values()))
    terms = dict(reconstruction=reconstruction, kl=kl, cosine=cosine, distance=distance, weight=weight, total=total)
    save("losses", {
        **{f"losses/{k}": v.reshape(()) for k, v in terms.items()},
        **{f"gradients/{k}": v for k, v in zip(trained, gradients)},
        "images": images, "noise": noise, "features": features.flatten(2).transpose(1, 2),
        "linear_proj.weight": projection.weight,
    })  # fmt: skip


def write_keys(name, tensors):
    lines = [f"{k} {'x'.join(map(str, v.shape)) or '-'}" for k, v in tensors.items()]
    (out / f"keys-{name}.txt").write_text("\n".join(lines) + "\n")


def under(prefix, module):
    return {f"{prefix}{k}": v for k, v in module.state_dict().items()}


def dinov2_large(**extra):
    block = lambda: named(
        norm1=nn.LayerNorm(1024), attn=named(qkv=nn.Linear(1024, 3072), proj=nn.Linear(1024, 1024)), ls1=scale(1024),
        norm2=nn.LayerNorm(1024), mlp=named(fc1=nn.Linear(1024, 4096), fc2=nn.Linear(4096, 1024)), ls2=scale(1024),
    )  # fmt: skip
    scale = lambda width: named(gamma=nn.Parameter(torch.empty(width)))
    return named(
        cls_token=nn.Parameter(torch.empty(1, 1, 1024)), pos_embed=nn.Parameter(torch.empty(1, 1370, 1024)),
        **extra, patch_embed=named(proj=nn.Conv2d(3, 1024, 14, 14)),
        blocks=nn.ModuleList(block() for _ in range(24)), norm=nn.LayerNorm(1024),
    )  # fmt: skip


def training_loss():
    """LPIPS with VGG16 (taming-transformers) and PatchGAN, as LDM's loss holds them."""
    buffers = named()
    for name in ("shift", "scale"):
        buffers.register_buffer(name, torch.empty(1, 3, 1, 1))
    slices = [{0: (3, 64), 2: (64, 64)}, {5: (64, 128), 7: (128, 128)}, {10: (128, 256), 12: (256, 256), 14: (256, 256)}]
    slices += [{17: (256, 512), 19: (512, 512), 21: (512, 512)}, {24: (512, 512), 26: (512, 512), 28: (512, 512)}]
    net = named(**{
        f"slice{i + 1}": named(**{str(k): conv3(*channels) for k, channels in layers.items()}) for i, layers in enumerate(slices)
    })  # fmt: skip
    heads = {
        f"lin{i}": named(model=nn.Sequential(nn.Dropout(), nn.Conv2d(width, 1, 1, bias=False)))
        for i, width in enumerate((64, 128, 256, 512, 512))
    }
    plain = lambda i, o, **options: nn.Conv2d(i, o, 4, padding=1, **options)
    main = nn.Sequential(
        plain(3, 64), nn.LeakyReLU(), plain(64, 128, bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(),
        plain(128, 256, bias=False), nn.BatchNorm2d(256), nn.LeakyReLU(), plain(256, 512, bias=False), nn.BatchNorm2d(512),
        nn.LeakyReLU(), plain(512, 1),
    )  # fmt: skip
    perceptual = named(scaling_layer=buffers, net=net, **heads)
    return named(logvar=nn.Parameter(torch.empty(())), perceptual_loss=perceptual, discriminator=named(main=main))


with torch.device("meta"):
    vavae = Autoencoder(128, (1, 1, 2, 2, 4), 2, (4,), 32)
    write_keys("va-vae", {
        **under("state_dict.", vavae), **under("state_dict.loss.", training_loss()),
        **under("state_dict.foundation_model.model.", dinov2_large()), "state_dict.linear_proj.weight": torch.empty(1024, 32, 1, 1),
    })  # fmt: skip
    write_keys("sd-vae", under("first_stage_model.", Autoencoder(128, (1, 2, 4, 4), 2, (), 4)))
    write_keys("sd-vae-diffusers", under("", DiffusersAutoencoder((128, 256, 512, 512), 2, 4)))
    write_keys("flux-ae", under("", Autoencoder(128, (1, 2, 4, 4), 2, (), 16, quant=False)))
    write_keys("dinov2-large", under("", dinov2_large(mask_token=nn.Parameter(torch.empty(1, 1024)))))
    write_keys("taesd", under("", TinyAutoencoder(4)))

GROUPS = 2
torch.manual_seed(0)
ldm = Autoencoder(4, (1, 2), 1, (1,), 3)
flux = Autoencoder(4, (1, 2, 2), 1, (), 4, quant=False)
diffusers = {f"diffusers{suffix}": DiffusersAutoencoder((4, 8, 8), 1, 3, not suffix) for suffix in ("", "-older")}
tiny = {"tiny": TinyAutoencoder(4, 4), "tiny-pooled": TinyAutoencoder(3, 4, True)}
for model in (ldm, flux, *diffusers.values(), *tiny.values()):
    randomise(model)
images = torch.rand(2, 3, 8, 12) * 2 - 1
save_autoencoder("ldm", ldm, images)
save_autoencoder("flux", flux, images)
for name, model in diffusers.items():
    save_autoencoder(name, model, images[:1])
large = torch.rand(1, 3, 16, 24) * 2 - 1
for name, model in tiny.items():
    latents = model.encoder((large + 1) / 2)
    save(name, {**weights_of(model), "images": large, "latents": latents, "image": 2 * model.decoder(latents) - 1})
losses(ldm, images)


class Discriminator(nn.Module):
    def __init__(self, channels):
        super().__init__()
        plain = lambda i, o, stride, **options: nn.Conv2d(i, o, 4, stride, 1, **options)
        self.main = nn.Sequential(
            plain(3, channels, 2), nn.LeakyReLU(0.2),
            plain(channels, 2 * channels, 2, bias=False), nn.BatchNorm2d(2 * channels), nn.LeakyReLU(0.2),
            plain(2 * channels, 4 * channels, 1, bias=False), nn.BatchNorm2d(4 * channels), nn.LeakyReLU(0.2),
            plain(4 * channels, 1, 1),
        )  # fmt: skip

    def forward(self, x):
        return self.main(x)


def vision_loss(projected, features):
    """VA-VAE's, with its last margins; both (N, C, h, w)."""
    z, f = projected.flatten(2), features.flatten(2)
    similar = lambda x: F.normalize(x, dim=1).transpose(1, 2) @ F.normalize(x, dim=1)
    return F.relu((similar(z) - similar(f)).abs() - 0.25).mean() + F.relu(0.5 - F.cosine_similarity(f, z)).mean()


def train(model, images, judge, perceptual, features=None, projection=None, steps=2, lr=1e-3, kl_weight=0.3):
    """Whole steps of both networks, with the sums over an image that upstream takes. In place."""
    name = "autoencoder" if features is None else "va-vae"
    parameters = dict(model.named_parameters())
    if projection is not None:
        parameters["linear_proj.weight"] = projection.weight
    adam = torch.optim.Adam(parameters.values(), lr=lr, betas=(0.5, 0.9))
    judge_adam = torch.optim.Adam(judge.parameters(), lr=lr, betas=(0.5, 0.9))
    for step in range(steps):
        mean, log_variance = model.encode(images)
        n, d, h, w = mean.shape
        rows = [normals(f"0/{name}/noise/{step}/{row}", h * w * d) for row in range(n)]
        noise = torch.tensor(rows).reshape(n, h, w, d).permute(0, 3, 1, 2)
        z = mean + torch.exp(0.5 * log_variance) * noise
        x = model.decode(z)
        difference = perceptual(x) - perceptual(images)
        nll = ((x - images).abs() + (difference**2).mean((1, 2, 3), keepdim=True)).sum() / n
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum() / n
        passing = copy.deepcopy(judge)  # which keeps the running statistics to the discriminator's own two passes
        generator = -passing(x).mean()
        length = lambda loss, at: torch.autograd.grad(loss, at, retain_graph=True)[0].norm()
        ratio = lambda other, at: length(nll, at) / (length(other, at) + 1e-4)
        weight = 0.5 * ratio(generator, model.decoder.conv_out.weight).clamp(0, 1e4).detach()
        loss = nll + kl_weight * kl + weight * generator
        if features is not None:
            vision = vision_loss(projection(z), features)
            loss = loss + 0.1 * ratio(vision, model.encoder.conv_out.weight).clamp(0, 1e8).detach() * vision
        adam.zero_grad()
        loss.backward()
        adam.step()
        real, fake = judge(images), judge(x.detach())
        judge_loss = 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())
        judge_adam.zero_grad()
        judge_loss.backward()
        judge_adam.step()
    return {**parameters, **{f"discriminator.{k}": v for k, v in judge.state_dict().items() if "num_batches" not in k}}


judge, perceptual = Discriminator(4), nn.Conv2d(3, 4, 3, padding=1, bias=False)
projection = nn.Conv2d(3, 6, 1, bias=False)
for part in judge.main:
    if isinstance(part, nn.BatchNorm2d):
        randomise(part)
images = (torch.randint(0, 256, (2, 3, 16, 24)).double() / 127.5 - 1).float()
features = torch.randn(2, 6, 8, 12)
save("steps", {
    **{f"discriminator.{k}": v for k, v in judge.state_dict().items() if "num_batches" not in k},
    "images": images, "features": features.flatten(2).transpose(1, 2),
    "linear_proj.weight": projection.weight, "perceptual.weight": perceptual.weight,
})  # fmt: skip
save("step-plain", train(copy.deepcopy(ldm), images, copy.deepcopy(judge), perceptual))
save("step-vision", train(copy.deepcopy(ldm), images, copy.deepcopy(judge), perceptual, features, projection))
