"""Golden weights of linear probes trained by SGD, from PyTorch modules given the same batches and initial weights.

    python eval-fid-probe-sgd.py OUT_FOLDER
"""
import json
import sys
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
import importlib  # noqa: E402

problem = importlib.import_module("eval-fid-probe").problem


def orders(seed, n, epochs):
    """A shuffle of n samples for each epoch."""
    s = seed
    for _ in range(epochs):
        order = list(range(n))
        for i in range(n - 1, 0, -1):
            s = (s * 1664525 + 1013904223) % 2**32
            j = s * (i + 1) // 2**32
            order[i], order[j] = order[j], order[i]
        yield order


def train(x, y, order, classes, rate, epochs, batch, momentum):
    norm = nn.BatchNorm1d(x.shape[1], affine=False, eps=1e-6)
    linear = nn.Linear(x.shape[1], classes)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    optimizer = torch.optim.SGD(linear.parameters(), rate * batch / 256, momentum=momentum, weight_decay=0)
    steps = epochs * (len(x) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=0)
    for epoch in range(epochs):
        losses = []
        for start in range(0, len(x) - batch + 1, batch):
            rows = order[epoch][start : start + batch]
            loss = nn.functional.cross_entropy(linear(norm(x[rows])), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    norm.eval()
    with torch.no_grad():
        scores = linear(norm(x))
    top = [(scores.topk(k, 1).indices == y[:, None]).any(1).float().mean().item() for k in (1, 2)]
    return {
        "rate": rate, "loss": sum(losses) / len(losses), "weight": linear.weight.flatten().tolist(),
        "bias": linear.bias.tolist(), "mean": norm.running_mean.tolist(), "variance": norm.running_var.tolist(),
        "scores": scores[:8].flatten().tolist(), "top1": top[0], "top2": top[1],
    }


def main(out):
    torch.set_default_dtype(torch.float32)
    cases = []
    for seed, n, d, classes, epochs, batch, momentum in [(5, 96, 8, 3, 10, 32, 0.9), (6, 70, 6, 4, 5, 15, 0.5), (7, 20, 5, 3, 8, 64, 0.9)]:
        x, y = problem(seed, n, d, classes)
        x, y = torch.from_numpy(x), torch.from_numpy(y)
        order = list(orders(seed, n, epochs))
        size = min(batch, n)
        probes = [train(x, y, order, classes, rate, epochs, size, momentum) for rate in (0.03, 0.3, 3.0)]
        cases.append({"seed": seed, "n": n, "d": d, "classes": classes, "epochs": epochs, "batch": batch, "momentum": momentum, "probes": probes})
    (out / "probe-sgd.json").write_text(json.dumps(cases) + "\n")


main(Path(sys.argv[1]))
