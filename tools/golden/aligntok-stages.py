"""Golden values and gradients of the tokenizer's three stages for packages/aligntok, in plain PyTorch.

    python tools/golden/aligntok-stages.py packages/aligntok/test/fixtures

A tiny ViT, adapter, LDM decoder with a pixel shuffle and PatchGAN, random weights, 16x16 images; the forms of the
adapter, each loss, the variants of a step, two whole steps of Adam in every stage, and a stage's on 12x20 images.
Module names are upstream's, so state dicts carry upstream's keys. Needs torch and safetensors.
"""

import copy
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

torch.manual_seed(0)
out = Path(sys.argv[1])


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        n, t, d = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, d))


class Mlp(nn.Module):
    def __init__(self, width, hidden, outputs):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, outputs)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn, self.mlp = Attention(width, heads), Mlp(width, 2 * width, width)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Patches(nn.Module):
    def __init__(self, patch, width):
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)


class ViT(nn.Module):
    def __init__(self, patch, width, depth, heads, grid):
        super().__init__()
        self.patch_embed = Patches(patch, width)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + grid**2, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def fit(self, grid):
        """Position embeddings for another grid, as timm resamples them."""
        own, patches = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        side = round(patches.shape[1] ** 0.5)
        square = patches.reshape(1, side, side, -1).permute(0, 3, 1, 2)
        fitted = F.interpolate(square, size=grid, mode="bicubic", antialias=True).permute(0, 2, 3, 1).flatten(1, 2)
        self.pos_embed = nn.Parameter(torch.cat([own, fitted], 1).detach())

    def forward(self, images):  # in [-1, 1], which mean 0.5 and std 0.5 turn [0, 1] into
        x = self.patch_embed.proj(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 1:]


GROUPS = 2


def norm(width):
    return nn.GroupNorm(GROUPS, width, eps=1e-6)


def swish(x):
    return x * torch.sigmoid(x)


class ResnetBlock(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.norm1, self.conv1 = norm(inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2, self.conv2 = norm(outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        if inputs != outputs:
            self.nin_shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x):
        h = self.conv2(swish(self.norm2(self.conv1(swish(self.norm1(x))))))
        return (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x) + h


class AttnBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = norm(width)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x):
        n, c, h, w = x.shape
        y = self.norm(x)
        q, k, v = (f(y).reshape(n, c, h * w) for f in (self.q, self.k, self.v))
        weights = torch.softmax(torch.einsum("nci,ncj->nij", q, k) * c**-0.5, 2)
        mixed = torch.einsum("ncj,nij->nci", v, weights)
        return x + self.proj_out(mixed.reshape(n, c, h, w))


class Upsample(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Mid(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.block_1, self.attn_1 = ResnetBlock(width, width), AttnBlock(width)
        self.block_2 = ResnetBlock(width, width)


class Decoder(nn.Module):
    def __init__(self, latent, channels, multipliers, blocks, attention, shuffle):
        super().__init__()
        self.shuffle = shuffle
        width = channels * multipliers[-1]
        self.conv_in, self.mid = nn.Conv2d(latent, width, 3, padding=1), Mid(width)
        levels = []
        for level in reversed(range(len(multipliers))):
            up = nn.Module()
            up.block, up.attn = nn.ModuleList(), nn.ModuleList()
            for _ in range(blocks + 1):
                up.block.append(ResnetBlock(width, channels * multipliers[level]))
                width = channels * multipliers[level]
                if level in attention:
                    up.attn.append(AttnBlock(width))
            if level:
                up.upsample = Upsample(width)
            levels.insert(0, up)
        self.up = nn.ModuleList(levels)
        self.norm_out = norm(width)
        self.conv_out = nn.Conv2d(width, 3 * shuffle**2, 3, padding=1)

    def forward(self, z):
        x = self.conv_in(z)
        x = self.mid.block_2(self.mid.attn_1(self.mid.block_1(x)))
        for level in reversed(range(len(self.up))):
            up = self.up[level]
            for i, block in enumerate(up.block):
                x = block(x)
                if len(up.attn):
                    x = up.attn[i](x)
            if level:
                x = up.upsample(x)
        return F.pixel_shuffle(self.conv_out(swish(self.norm_out(x))), self.shuffle)


class Tokenizer(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = ViT(4, 8, 2, 2, 4)
        self.adapter = Mlp(8, 8, 4)
        self.post_quant_conv = nn.Conv2d(4, 4, 1)
        self.decoder = Decoder(4, 4, [1, 2], 1, [1], 2)
        self.grid = 4, 4

    def encode(self, images):
        return self.adapter(self.encoder(images))

    def decode(self, latents):
        return self.decoder(self.post_quant_conv(latents.transpose(1, 2).reshape(len(latents), 4, *self.grid)))


class Discriminator(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(3, channels, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(channels, 2 * channels, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * channels), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * channels, 4 * channels, 4, 1, 1, bias=False), nn.BatchNorm2d(4 * channels), nn.LeakyReLU(0.2),
            nn.Conv2d(4 * channels, 1, 4, 1, 1),
        )

    def forward(self, x):
        return self.main(x)


def save(name, tensors):
    save_file({k: v.detach().contiguous().clone() for k, v in tensors.items()}, out / f"{name}.safetensors")


def weights_of(module):
    return {k: v for k, v in module.state_dict().items() if "num_batches" not in k}


tokenizer, snapshot, discriminator = Tokenizer(), Tokenizer(), Discriminator(4)
for module in (tokenizer, discriminator):
    for name, parameter in module.named_parameters():  # norms away from 1 and 0, so that they count
        if "norm" in name or parameter.dim() == 1:
            nn.init.normal_(parameter, 1 if name.endswith("weight") else 0, 0.3)
snapshot.load_state_dict(tokenizer.state_dict())
for parameter in list(snapshot.encoder.parameters()) + list(snapshot.adapter.parameters()):
    parameter.data += 0.05 * torch.randn_like(parameter)
perceptual = nn.Conv2d(3, 4, 3, padding=1, bias=False)
images = (torch.randint(0, 256, (2, 3, 16, 16)).double() / 127.5 - 1).float()
frozen_parts = {f"snapshot.{k}": v for k, v in weights_of(snapshot).items() if k[:7] in ("encoder", "adapter")}
save("weights", {**weights_of(tokenizer), **frozen_parts, "perceptual.weight": perceptual.weight, "images": images})
save("discriminator", weights_of(discriminator))

PARTS = {
    "latent": ("adapter", "post_quant_conv", "decoder"),
    "perceptual": ("encoder", "adapter", "post_quant_conv", "decoder"),
    "refine": ("post_quant_conv", "decoder"),
}


def hinge(real, fake):
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())


def cross_entropy(real, fake):
    ones, zeros = torch.ones_like(real), torch.zeros_like(fake)
    return 0.5 * (F.binary_cross_entropy_with_logits(real, ones) + F.binary_cross_entropy_with_logits(fake, zeros))


def semantic_distance(x, y, cosine):
    return (1 - F.cosine_similarity(x, y, -1)).mean() if cosine else F.mse_loss(x, y)


def kl_divergence(mean, log_variance):
    q = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    return torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum() / len(mean)


KL_WEIGHT = 40.0


def step(stage, model=None, judge=None, cosine=False, target="latent", saturating=True, noise=None, trained=None):
    """Losses and gradients; `trained` are the parameters to differentiate by, and `judge` moves its own statistics."""
    model = model or tokenizer
    if judge is None:
        judge = Discriminator(4)
        judge.load_state_dict(discriminator.state_dict())
    features = model.encoder(images)
    z = model.adapter(features)
    if noise is not None:
        mean, log_variance = z.chunk(2, -1)
        z = mean
    sampled = z if noise is None else mean + torch.exp(0.5 * log_variance) * noise
    x = model.decode(sampled)
    result = {"absolute": (x - images).abs().mean(), "perceptual": ((perceptual(x) - perceptual(images)) ** 2).mean()}
    reconstruction = result["absolute"] + 0.7 * result["perceptual"]
    # the generator's pass must not move the running statistics here: only the discriminator's two do
    passing = Discriminator(4)
    passing.load_state_dict(judge.state_dict())
    logits = passing(x)
    result["generator"] = (
        -logits.mean() if saturating else F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
    )
    last = model.decoder.conv_out.weight
    of = lambda loss: torch.autograd.grad(loss, last, retain_graph=True)[0].norm()
    result["generatorWeight"] = 0.5 * (of(reconstruction) / (of(result["generator"]) + 1e-4)).clamp(0, 1e4).detach()
    total = reconstruction + result["generatorWeight"] * result["generator"]
    if stage == "perceptual":
        kept = snapshot.encoder(images).detach() if target == "features" else snapshot.encode(images).detach()
        result["semantic"] = semantic_distance(features if target == "features" else z, kept, cosine)
        total = total + 3 * result["semantic"]
    if noise is not None:
        result["kl"] = kl_divergence(mean, log_variance) / images[0].numel()
        total = total + KL_WEIGHT * result["kl"]
    result["total"] = total
    if trained is None:
        trained = {k: v for k, v in model.named_parameters() if k.split(".")[0] in PARTS[stage]}
    gradients = dict(zip(trained, torch.autograd.grad(total, list(trained.values()))))
    real, fake = judge(images), judge(x.detach())
    result["discriminator"] = (hinge if saturating else cross_entropy)(real, fake)
    weights = dict(judge.named_parameters())
    judge_gradients = dict(zip(weights, torch.autograd.grad(result["discriminator"], list(weights.values()))))
    statistics = {k: v for k, v in judge.state_dict().items() if "running" in k}
    return {
        **{f"losses.{k}": v.reshape(()) for k, v in result.items()},
        **{f"gradients.{k}": v for k, v in gradients.items()},
        **{f"discriminatorGradients.{k}": v for k, v in judge_gradients.items()},
        **{f"discriminatorStatistics.{k}": v for k, v in statistics.items()},
    }


for stage in PARTS:
    save(f"stage-{stage}", step(stage))


class LoraLinear(nn.Module):
    """As peft's: the product is added to the layer's output."""

    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base, self.scale = base, alpha / rank
        self.lora_A = nn.Linear(base.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False)

    def forward(self, x):
        return self.base(x) + self.scale * self.lora_B(self.lora_A(x))


def with_lora():
    model, factors = copy.deepcopy(tokenizer), {}
    for i, block in enumerate(model.encoder.blocks):
        block.attn.qkv, block.mlp.fc1 = LoraLinear(block.attn.qkv, 2, 3), LoraLinear(block.mlp.fc1, 2, 3)
        for name, layer in (("attn.qkv", block.attn.qkv), ("mlp.fc1", block.mlp.fc1)):
            for part in ("lora_A", "lora_B"):
                factors[f"encoder.blocks.{i}.{name}.{part}.weight"] = getattr(layer, part).weight
    others = {k: v for k, v in model.named_parameters() if k.split(".")[0] in PARTS["refine"] + ("adapter",)}
    return model, factors, {**factors, **others}


def variational():
    model = copy.deepcopy(tokenizer)
    model.adapter = Mlp(8, 8, 8)
    return model


SHOWN = ("adapter.fc2.weight", "encoder.blocks.0.attn.qkv.weight", "decoder.conv_in.weight")


def variant(name, result, inputs={}, shown=SHOWN):
    kept = {k: v for k, v in result.items() if k.startswith("losses.") or k.removeprefix("gradients.") in shown}
    if "saturating" in name:
        kept |= {k: v for k, v in result.items() if k == "discriminatorGradients.main.8.weight"}
    return {f"{name}.{k}": v for k, v in {**kept, **inputs}.items()}


lora, factors, lora_trained = with_lora()
sampling, noise = variational(), torch.randn(2, 16, 4)
variational_adapter = {f"adapter.{k}": v for k, v in sampling.adapter.state_dict().items()}
save(
    "stage-variants",
    {
        **variant("cosine", step("perceptual", cosine=True)),
        **variant("features", step("perceptual", target="features")),
        **variant("features-cosine", step("perceptual", target="features", cosine=True)),
        **variant("non-saturating", step("perceptual", saturating=False)),
        **variant("lora", step("perceptual", model=lora, trained=lora_trained), factors, (*factors, *SHOWN)),
        **variant("kl", step("perceptual", model=sampling, noise=noise), {"noise": noise, **variational_adapter}),
    },
)


def rates(name, lr):
    """A tenth for the encoder, halved from block to block."""
    if not name.startswith("encoder."):
        return lr
    if name.startswith("encoder.norm."):
        return lr * 0.1
    block = name.split(".")[2] if name.startswith("encoder.blocks.") else -1
    return lr * 0.1 * 0.5 ** (2 - int(block))


def train(stage, steps=2, lr=1e-3):
    """Whole steps of both networks; the snapshot is the tokenizer itself, so only the second has a semantic gradient."""
    global snapshot
    before, snapshot = snapshot, copy.deepcopy(tokenizer)
    model, judge = copy.deepcopy(tokenizer), copy.deepcopy(discriminator)
    trained = {k: v for k, v in model.named_parameters() if k.split(".")[0] in PARTS[stage]}
    adam = torch.optim.Adam([{"params": [v], "lr": rates(k, lr)} for k, v in trained.items()], betas=(0.5, 0.9))
    judge_adam = torch.optim.Adam(judge.parameters(), lr=lr, betas=(0.5, 0.9))
    for _ in range(steps):
        result = step(stage, model=model, judge=judge)
        for k, v in trained.items():
            v.grad = result[f"gradients.{k}"]
        for k, v in judge.named_parameters():
            v.grad = result[f"discriminatorGradients.{k}"]
        adam.step(), judge_adam.step()
    snapshot = before
    return {**trained, **{f"discriminator.{k}": v for k, v in weights_of(judge).items()}}


for stage in PARTS:
    save(f"step-{stage}", train(stage))


class Normalised(nn.Module):
    def __init__(self, adapter, latent):
        super().__init__()
        self.adapter, self.norm = adapter, nn.LayerNorm(latent, eps=1e-6)
        nn.init.normal_(self.norm.weight), nn.init.normal_(self.norm.bias)

    def forward(self, x):
        return self.norm(self.adapter(x))


def adapter_form(name, module, keys):
    """Weights under our keys, outputs, and gradients of their product with fixed numbers."""
    tokens = torch.randn(2, 5, 8, requires_grad=True)
    y = module(tokens)
    pull = torch.randn_like(y)
    parameters = dict(module.named_parameters())
    gradients = torch.autograd.grad((y * pull).sum(), [tokens, *parameters.values()])
    result = {"tokens": tokens, "outputs": y, "pull": pull, "gradients.tokens": gradients[0]}
    for (key, value), gradient in zip(parameters.items(), gradients[1:]):
        result[f"weights.{keys(key)}"], result[f"gradients.{keys(key)}"] = value, gradient
    return {f"{name}.{k}": v for k, v in result.items()}


save(
    "adapters",
    {
        **adapter_form("mlp", Mlp(8, 6, 4), lambda k: f"adapter.{k}"),
        **adapter_form("linear", nn.Linear(8, 4), lambda k: f"adapter.fc.{k}"),
        **adapter_form("normalized", Normalised(Mlp(8, 8, 4), 4), lambda k: f"adapter.{k.removeprefix('adapter.')}"),
        **adapter_form(
            "linear-normalized",
            Normalised(nn.Linear(8, 4), 4),
            lambda k: k.replace("adapter.", "adapter.fc.") if k.startswith("adapter.") else f"adapter.{k}",
        ),
    },
)


def loss(name, function, *arrays):
    """A loss of one or two arrays with its gradients."""
    arrays = [array.clone().requires_grad_() for array in arrays]
    value = function(*arrays)
    gradients = torch.autograd.grad(value, arrays)
    result = {"value": value, **{f"x{i}": v for i, v in enumerate(arrays)}, **{f"g{i}": v for i, v in enumerate(gradients)}}
    return {f"{name}.{k}": v for k, v in result.items()}


def logits():
    return 2 * torch.randn(2, 1, 3, 3)


def tokens():
    return torch.randn(2, 6, 4)


save(
    "losses",
    {
        **loss("absolute", F.l1_loss, torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)),
        **loss("hinge", hinge, logits(), logits()),
        **loss("logistic", cross_entropy, logits(), logits()),
        **loss("generator", lambda x: -x.mean(), logits()),
        **loss("generatorLogistic", lambda x: F.binary_cross_entropy_with_logits(x, torch.ones_like(x)), logits()),
        **loss("l2", lambda x, y: semantic_distance(x, y, False), tokens(), tokens()),
        **loss("cosine", lambda x, y: semantic_distance(x, y, True), tokens(), tokens()),
        **loss("kl", kl_divergence, tokens(), 0.5 * tokens()),
    },
)

judge = Discriminator(4)
judge.load_state_dict(discriminator.state_dict())
training = judge(images)
save(
    "forward",
    {
        "features": tokenizer.encoder(images),
        "latents": tokenizer.encode(images),
        "image": tokenizer.decode(tokenizer.encode(images)),
        "judge.training": training,
        "judge.inference": judge.eval()(images),
        **{f"judge.{k}": v for k, v in weights_of(judge).items() if "running" in k},
    },
)

tokenizer.grid = 3, 5
tokenizer.encoder.fit(tokenizer.grid)
images = (torch.randint(0, 256, (2, 3, 12, 20)).double() / 127.5 - 1).float()
save("step-perceptual-wide", {**train("perceptual"), "images": images, "fitted": tokenizer.encoder.pos_embed})
