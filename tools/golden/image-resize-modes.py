"""Writes the resize cases of @aligntok/image for every mode of Pillow's `Image.resize`, and for its `box`.

    python image-resize-modes.py OUT_FOLDER       writes resize-modes.json

Inputs are kept as bytes, results as the SHA-256 of their bytes, little-endian. Needs numpy and Pillow >= 12.3.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

FILTERS = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
MODES = {"L": "uint8", "LA": "uint8", "RGB": "uint8", "RGBA": "uint8", "I;16": "uint16", "I": "int32", "F": "float32"}
CHANNELS = {"LA": 2, "RGB": 3, "RGBA": 4}

WIDTH, HEIGHT = 23, 17
TALL = (3, 307)  # more than a hundred times as high as wide: Pillow resizes it down first

# input, width, height, box
CASES = [
    ("noise", 31, 40, None),
    ("noise", 9, 6, None),
    ("noise", 5, 29, None),
    ("noise", 40, 17, None),
    ("noise", 23, 7, None),
    ("noise", 23, 17, None),  # a copy
    ("noise", 1, 1, None),
    ("noise", 12, 11, (2.3, 1.7, 19.9, 15.2)),
    ("noise", 23, 17, (0.25, 0, 23, 16.5)),
    ("noise", 10, 8, (3, 2, 13, 10)),  # a crop
    ("noise", 10, 8, (3, 2, 13, 11)),  # columns that stay as they are, summed all the same
    ("noise", 23, 9, (0, 3, 23, 12.5)),
    ("tall", 2, 100, None),
    ("tall", 5, 306, None),
    ("tall", 3, 50, None),
    ("tall", 2, 400, None),  # grows: across first
    ("tall", 2, 60, (1, 2, 3, 200.5)),  # columns are cut, not summed
    ("tall", 2, 60, (0.5, 4, 2.75, 64)),  # rows are cut
]


def samples(random, mode, width, height):
    shape = (height, width, CHANNELS.get(mode, 1))
    if mode == "F":
        return (random.standard_normal(shape) * 100).astype(np.float32)
    if mode == "I":
        return random.randint(-(2**30), 2**30, shape).astype(np.int32)
    if mode == "I;16":
        return random.choice([0, 1, 1000, 65534, 65535], shape).astype(np.uint16)
    array = random.randint(0, 256, shape)
    array[height // 4 : height // 2, : width // 2] = 255  # saturated edges overshoot
    if shape[2] % 2 == 0:
        array[:, :, -1] = random.choice([0, 1, 2, 100, 254, 255], shape[:2])
    return array.astype(np.uint8)


def main(folder):
    random = np.random.RandomState(0)
    inputs, cases = [], []
    for mode, dtype in MODES.items():
        images = {}
        for name, (width, height) in {"noise": (WIDTH, HEIGHT), "tall": TALL}.items():
            array = samples(random, mode, width, height)
            images[name] = Image.frombytes(mode, (width, height), array.tobytes())
            data = base64.b64encode(array.tobytes()).decode()
            inputs.append({"mode": mode, "input": name, "dtype": dtype, "shape": array.shape, "data": data})
        for name, width, height, box in CASES:
            hashes = {}
            for filter in FILTERS:
                result = images[name].resize((width, height), Image.Resampling[filter.upper()], box)
                hashes[filter] = hashlib.sha256(result.tobytes()).hexdigest()[:16]
            cases.append({"mode": mode, "input": name, "width": width, "height": height, "box": box, "sha256": hashes})
    lists = {"inputs": inputs, "cases": cases}
    lists = [f' "{name}": [\n  ' + ",\n  ".join(map(json.dumps, each)) + "\n ]" for name, each in lists.items()]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "resize-modes.json").write_text("{\n" + ",\n".join(lists) + "\n}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
