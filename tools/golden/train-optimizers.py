"""Golden values of @aligntok/train from torch.optim: optimizers, schedules, clipping, moving average.

    python tools/golden/train-optimizers.py packages/train/test/fixtures
"""

import json
import sys
from pathlib import Path

import torch

STEPS = 20
SHAPES = {
    "blocks.1.weight": (7, 5),
    "blocks.1.bias": (7,),
    "blocks.10.weight": (3, 2, 2),
    "head.weight": (4, 7),
    "head.bias": (4,),
}


def values(tensors):
    return {name: tensor.detach().flatten().tolist() for name, tensor in tensors.items()}


def gradients(generator, step):
    # magnitudes over five decades, some exactly zero, so that eps and the bias corrections matter
    scale = 10.0 ** ((step % 5) - 3)
    drawn = {name: torch.randn(shape, generator=generator) * scale for name, shape in SHAPES.items()}
    drawn["head.bias"][0] = 0.0
    return drawn


def run(name, make_optimizer, max_norm=None, ema_decay=None):
    generator = torch.Generator().manual_seed(0)
    params = {key: torch.randn(shape, generator=generator) for key, shape in SHAPES.items()}
    initial = values(params)
    for parameter in params.values():
        parameter.requires_grad_()
    optimizer, schedule = make_optimizer(params)
    average = {key: value.detach().clone() for key, value in params.items()}
    steps = []
    for step in range(STEPS):
        drawn = gradients(generator, step)
        for key, parameter in params.items():
            parameter.grad = drawn[key].clone()
        norm = torch.nn.utils.clip_grad_norm_(params.values(), max_norm) if max_norm else None
        lr = optimizer.param_groups[0]["lr"]
        optimizer.step()
        if schedule:
            schedule.step()
        if ema_decay:
            for key, value in average.items():
                value.lerp_(params[key].detach(), 1 - ema_decay)
        steps.append({"gradients": values(drawn), "lr": lr, **({"norm": norm.item()} if max_norm else {})})
    state = {key: optimizer.state[value] for key, value in params.items()}
    return {
        "name": name,
        "shapes": SHAPES,
        "initial": initial,
        "steps": steps,
        "final": values(params),
        "expAvg": values({key: value["exp_avg"] for key, value in state.items()}),
        "expAvgSq": values({key: value["exp_avg_sq"] for key, value in state.items()}),
        **({"ema": values(average)} if ema_decay else {}),
    }


def adam(params):
    return torch.optim.Adam(params.values(), lr=1e-2, betas=(0.5, 0.9)), None


def adamw(params):
    optimizer = torch.optim.AdamW(params.values(), lr=1e-2, betas=(0.9, 0.95), eps=1e-6, weight_decay=0.1)
    return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS, eta_min=1e-3)


def adamw_groups(params):
    groups = [
        {"params": [v for k, v in params.items() if k.startswith("blocks.1.")], "lr": 1e-3},
        {"params": [v for k, v in params.items() if k.startswith("blocks.10.")], "lr": 1e-2},
        {"params": [v for k, v in params.items() if k.startswith("head.")], "lr": 2e-2, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, weight_decay=0.05), None


def schedules():
    def rates(make, steps):
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.3)
        schedule = make(optimizer)
        found = []
        for _ in range(steps):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        return found

    lr = torch.optim.lr_scheduler
    return {
        "cosine": rates(lambda o: lr.CosineAnnealingLR(o, 12, eta_min=0.01), 13),
        "warmup": rates(lambda o: lr.LinearLR(o, start_factor=0.25, total_iters=6), 10),
        "warmupCosine": rates(
            lambda o: lr.SequentialLR(
                o, [lr.LinearLR(o, 0.1, total_iters=5), lr.CosineAnnealingLR(o, 10)], milestones=[5]
            ),
            16,
        ),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    cases = [
        run("adam", adam, ema_decay=0.9),
        run("adamw", adamw, max_norm=0.5),
        run("adamw-groups", adamw_groups),
    ]
    for case in cases:
        (folder / f"{case['name']}.json").write_text(json.dumps(case))
    (folder / "schedules.json").write_text(json.dumps(schedules()))
