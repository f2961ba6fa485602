"""Golden optimum of the linear probe, from SciPy's trust-region Newton method with PyTorch's derivatives.

    python eval-fid-probe.py OUT_FOLDER
"""
import json
import sys
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize


def problem(seed, n, d, classes):
    """(n, d) float32 features with columns of very different spread, and labels that they half explain."""
    x = np.empty((n, d), np.float32)
    labels = np.empty(n, np.int64)
    s = seed

    def uniform():
        nonlocal s
        s = (s * 1664525 + 1013904223) % 2**32
        return s / 2**32

    for i in range(n):
        labels[i] = int(uniform() * classes)
        for j in range(d):
            signal = 0.75 if j % classes == labels[i] else 0.0
            x[i, j] = 3.0 + (uniform() + uniform() + signal) * 4.0 ** (j % 5 - 2)
    return x, labels


def main(out):
    cases = []
    for seed, n, d, classes, l2 in [(1, 90, 8, 3, 1e-2), (2, 60, 10, 2, 1e-3), (3, 40, 12, 5, 0.1), (4, 200, 6, 4, 0.0)]:
        x, labels = problem(seed, n, d, classes)
        z = x.astype(np.float64)
        z = torch.from_numpy((z - z.mean(0)) / z.std(0))
        y = torch.from_numpy(labels)

        def loss(p):
            w, b = p[: classes * d].view(classes, d), p[classes * d :]
            return torch.nn.functional.cross_entropy(z @ w.T + b, y) + l2 / 2 * (w**2).sum()

        start = np.zeros(classes * (d + 1))
        found = minimize(
            lambda p: loss(torch.from_numpy(p)).item(), start, method="trust-exact", options={"gtol": 1e-10, "maxiter": 1000},
            jac=lambda p: torch.func.grad(loss)(torch.from_numpy(p)).numpy(),
            hess=lambda p: torch.func.hessian(loss)(torch.from_numpy(p)).numpy(),
        )
        p = torch.from_numpy(found.x)
        assert torch.func.grad(loss)(p).abs().max() < 1e-8, found
        predicted = (z @ p[: classes * d].view(classes, d).T + p[classes * d :]).argmax(1)
        case = {"seed": seed, "n": n, "d": d, "classes": classes, "l2": l2, "loss": float(found.fun),
                "predicted": predicted.tolist(), "accuracy": float((predicted == y).double().mean())}
        if l2 > 0:  # without a penalty the optimum is unique only up to a common shift
            case["weight"] = found.x[: classes * d].tolist()
        cases.append(case)
    (out / "probe.json").write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
