"""What the cases share: steps of inference and training, written as PyTorch users write them for speed."""

import torch

MEMORY_FORMATS = ["contiguous", "channels_last"]


def to_format(variant, *things):
    """Modules and images in the memory format of that name."""
    if variant == "channels_last":
        things = tuple(thing.to(memory_format=torch.channels_last) for thing in things)
    return things if len(things) > 1 else things[0]


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def inference(model, *inputs):
    @torch.inference_mode()
    def step():
        return model(*inputs)

    return step, count(model)


def training(model, loss, optimizer, ema=None):
    """`loss()` to the weights, which `ema` follows."""

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        optimizer.step()
        if ema:
            ema()

    return step, count(model)


def moving_average(model, decay):
    weights = [p.detach() for p in model.parameters()]
    average = [p.clone() for p in weights]
    return lambda: torch._foreach_lerp_(average, weights, 1 - decay)
