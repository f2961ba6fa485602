"""Golden values for PSNR and SSIM, from PyTorch in float64, cross-checked with scipy.ndimage.

    python eval-fid-similarity.py OUT_FOLDER

SSIM is written as torchmetrics defines it: reflection padding, a full 11x11 Gaussian convolution over each
channel, crop of the padded border, mean. The images come from a generator that the test repeats.
"""
import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import correlate1d


def images(seed, n, h, w, c, noise):
    """A pair of (n, h, w, c) uint8: waves with noise, and the same with more noise and a shift."""
    a = np.empty((n, h, w, c), np.uint8)
    b = np.empty_like(a)
    s = seed
    for i in np.ndindex(*a.shape):
        s = (s * 1664525 + 1013904223) % 2**32
        value = (i[1] * 7 + i[2] * 5 + i[3] * 40 + i[0] * 90) % 200 + (s >> 28)
        s = (s * 1664525 + 1013904223) % 2**32
        a[i] = value
        b[i] = min(255, max(0, value + 3 + ((s >> 16) % (2 * noise + 1)) - noise))
    return a, b


def kernel():
    x = torch.arange(11, dtype=torch.float64) - 5
    g = torch.exp(-((x / 1.5) ** 2) / 2)
    return g / g.sum()


def ssim_torch(a, b):
    p = torch.from_numpy(a).double().permute(0, 3, 1, 2)
    t = torch.from_numpy(b).double().permute(0, 3, 1, 2)
    c = p.shape[1]
    p, t = (F.pad(x, (5, 5, 5, 5), mode="reflect") for x in (p, t))
    k = torch.outer(kernel(), kernel()).expand(c, 1, 11, 11)
    mp, mt, pp, tt, pt = (F.conv2d(x, k, groups=c) for x in (p, t, p * p, t * t, p * t))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    full = (2 * mp * mt + c1) * (2 * (pt - mp * mt) + c2)
    full = full / ((mp**2 + mt**2 + c1) * ((pp - mp**2).clamp(min=0) + (tt - mt**2).clamp(min=0) + c2))
    return full[..., 5:-5, 5:-5].reshape(len(a), -1).mean(-1).numpy()


def ssim_scipy(a, b):
    g = kernel().numpy()
    blur = lambda x: correlate1d(correlate1d(x, g, axis=1, mode="mirror"), g, axis=2, mode="mirror")
    x, y = a.astype(np.float64), b.astype(np.float64)
    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    full = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return full[:, 5:-5, 5:-5].reshape(len(a), -1).mean(-1)


def main(out):
    cases = []
    for n, h, w, c, noise in [(1, 11, 11, 3, 20), (2, 11, 12, 3, 60), (2, 16, 24, 3, 5), (1, 40, 33, 1, 30), (3, 48, 64, 3, 90)]:
        a, b = images(h + w, n, h, w, c, noise)
        ssim = ssim_torch(a, b)
        assert np.abs(ssim - ssim_scipy(a, b)).max() < 1e-12
        mse = ((a.astype(np.float64) - b.astype(np.float64)) ** 2).reshape(n, -1).mean(1)
        cases.append({"shape": [n, h, w, c], "noise": noise, "psnr": (20 * np.log10(255 / np.sqrt(mse))).tolist(), "ssim": ssim.tolist()})
    (out / "similarity.json").write_text(json.dumps(cases, indent=1) + "\n")


main(Path(sys.argv[1]))
