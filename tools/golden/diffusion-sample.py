"""Golden trajectories of the Euler sampler with guidance, in NumPy float64, on a closed-form velocity field.

Usage: python diffusion-sample.py OUTPUT_FOLDER
"""

import json
import sys
from pathlib import Path

import numpy as np

NULL = 10


def velocity(x, t, y):
    """(N, C, h, w), scalar, (N): any smooth function that tells channels, positions, times and labels apart."""
    channel = np.arange(x.shape[1])[None, :, None, None]
    return np.sin(x + 0.3 * channel) * (1 + 0.1 * y[:, None, None, None]) + t * (channel - 1.5)


def guided(x, t, y, scale, channels, start):
    both = velocity(np.concatenate([x, x]), t, np.concatenate([y, np.full_like(y, NULL)]))
    conditional, unconditional = np.split(both, 2)
    if scale == 1 or t < start:
        return conditional
    out = conditional.copy()
    c = slice(None, channels)
    out[:, c] = unconditional[:, c] + scale * (conditional[:, c] - unconditional[:, c])
    return out


def sample(x, y, points, shift, scale, channels, start):
    t = np.linspace(0, 1, points)
    t = shift * t / (1 + (shift - 1) * t)
    for a, b in zip(t[:-1], t[1:]):
        x = x + (b - a) * guided(x, a, y, scale, channels, start)
    return x, t


def main(folder):
    noise = np.random.default_rng(0).standard_normal((3, 5, 2, 2)).astype(np.float32)
    labels = np.array([0, 4, 9])
    cases = []
    for points, shift, scale, channels, start in [
        (2, 1.0, 1.0, 3, 0.0),
        (11, 1.0, 1.0, 3, 0.0),
        (11, 0.3, 4.0, 3, 0.0),
        (11, 0.3, 4.0, None, 0.0),
        (25, 0.3, 2.5, 3, 0.11),
        (8, 3.0, 1.5, None, 0.5),
    ]:
        x, t = sample(noise.astype(np.float64), labels, points, shift, scale, channels, start)
        cases.append(
            dict(
                points=points, timestepShift=shift, cfgScale=scale, cfgChannels=channels or "all",
                cfgIntervalStart=start, grid=t.tolist(), samples=x.transpose(0, 2, 3, 1).ravel().tolist(),
            )
        )
    golden = dict(noise=noise.transpose(0, 2, 3, 1).ravel().tolist(), labels=labels.tolist(), cases=cases)
    (Path(folder) / "sample.json").write_text(json.dumps(golden))


if __name__ == "__main__":
    main(sys.argv[1])
