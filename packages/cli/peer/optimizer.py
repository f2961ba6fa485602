"""The machine's matrix product, and an optimizer with a moving average."""

import torch

import training


def matmul(_):
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    return lambda: torch.mm(a, b), 0


def adamw_ema(variant):
    model = torch.nn.ParameterList([torch.randn(1000, 1000) * 0.03 for _ in range(100)])
    for p in model:
        p.grad = torch.randn_like(p)
    adam = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.01, **{variant: True})
    ema = training.moving_average(model, 0.9999)

    def step():
        adam.step()
        ema()

    return step, training.count(model)


CASES = {
    "matmul": (matmul, [""]),
    "adamw-ema-100m": (adamw_ema, ["fused", "foreach"]),
}
