"""Writes the resize and crop cases of @aligntok/image with Pillow and torchvision.

    python image-resize.py OUT_FOLDER       writes resize.json and resize-*.png

Inputs are PNG files. Small results are PNG files too; large ones are kept as the SHA-256 of their RGB bytes.
Needs numpy, Pillow and torchvision.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

FILTERS = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]

# input, width, height: up, down, mixed, odd, one dimension unchanged, extreme
SIZES = [
    ("noise", 61, 47),
    ("noise", 30, 23),
    ("noise", 17, 5),
    ("noise", 122, 94),
    ("noise", 97, 101),
    ("noise", 61, 20),
    ("noise", 20, 47),
    ("noise", 100, 47),
    ("noise", 13, 111),
    ("noise", 1, 1),
    ("noise", 333, 2),
    ("scene", 256, 256),
    ("scene", 224, 168),
    ("scene", 299, 299),
    ("scene", 641, 481),
    ("scene", 33, 31),
    ("pixel", 7, 9),
    ("line", 50, 3),
]

# kept as pictures, so that a failing test can show where
PICTURES = {(filter, "noise", 30, 23) for filter in FILTERS}

# input, side of the ADM crop; scene is 501 x 375, noise is 61 x 47
ADM = [
    ("scene", 256),
    ("scene", 128),
    ("scene", 64),
    ("scene", 31),
    ("noise", 47),
    ("noise", 20),
    ("noise", 64),
    ("tie", 16),  # 33 x 32 halves to 16 x 16
    ("tall", 8),  # 10 x 25 scales by 0.8 to 8 x 20
    ("even", 10),  # 20 x 45 halves to 10 x 22, scale 1: no second pass
    ("half", 10),  # 12 x 15 scales to 10 x 12.5, which rounds to 12
    ("half-odd", 10),  # 12 x 21 scales to 10 x 17.5, which rounds to 18
]

# input, resize (a side, or height and width), filter, crop; noise is 61 x 47
TRANSFORMS = [
    ("scene", 256, "bicubic", 224),
    ("scene", 224, "bilinear", None),
    ("scene", [224, 224], "bicubic", None),
    ("scene", [100, 300], "lanczos", [99, 150]),
    ("scene", None, "bicubic", 224),
    ("noise", 23, "box", 23),
    ("noise", 23, "nearest", [8, 21]),
    ("noise", 47, "bicubic", 47),
    ("noise", 30, "bicubic", 33),  # black above and below only
    ("noise", 20, "bicubic", 40),
    ("noise", None, "bicubic", [48, 62]),  # an odd pixel goes below and to the right
    ("noise", None, "bicubic", [100, 20]),
    ("noise", None, "bicubic", [20, 100]),
    ("tall", 7, "bilinear", [8, 5]),
    ("line", 4, "bicubic", 9),
    ("pixel", 3, "bicubic", 5),
]


def sources():
    random = np.random.RandomState(0)
    noise = random.randint(0, 256, (47, 61, 3))
    noise[10:20, 10:30] = 255  # saturated edges make bicubic and lanczos overshoot
    noise[20:30, 10:30] = 0
    y, x = np.mgrid[0:375, 0:501]
    scene = np.stack([(x * 255 // 500), (y * 255 // 374), ((x // 16 + y // 16) % 2) * 255], -1)
    scene[100:200, 150:350, 0] = ((x * y) // 64 % 256)[100:200, 150:350]
    arrays = {
        "noise": noise,
        "scene": scene,
        "pixel": random.randint(0, 256, (1, 1, 3)),
        "line": random.randint(0, 256, (1, 19, 3)),
        "tie": random.randint(0, 256, (32, 33, 3)),
        "tall": random.randint(0, 256, (25, 10, 3)),
        "even": random.randint(0, 256, (45, 20, 3)),
        "half": random.randint(0, 256, (15, 12, 3)),
        "half-odd": random.randint(0, 256, (21, 12, 3)),
    }
    return {name: Image.fromarray(array.astype(np.uint8)) for name, array in arrays.items()}


def adm_crop(image, size):
    """The rule of guided-diffusion's center_crop_arr, restated."""
    while min(image.size) >= 2 * size:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = size / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


def sha256(image):
    return hashlib.sha256(image.tobytes()).hexdigest()


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    images = sources()
    for name, image in images.items():
        image.save(folder / f"resize-{name}.png", optimize=True)
    resizes = []
    for filter in FILTERS:
        for name, width, height in SIZES:
            result = images[name].resize((width, height), Image.Resampling[filter.upper()])
            case = {"input": name, "width": width, "height": height, "filter": filter, "sha256": sha256(result)}
            if (filter, name, width, height) in PICTURES:
                case["picture"] = f"resize-{name}-{filter}-{width}x{height}.png"
                result.save(folder / case["picture"], optimize=True)
            resizes.append(case)
    crops = [{"input": name, "size": size, "sha256": sha256(adm_crop(images[name], size))} for name, size in ADM]
    transforms = []
    for name, size, filter, crop in TRANSFORMS:
        steps = [Resize(size, InterpolationMode(filter))] if size else []
        result = Compose(steps + ([CenterCrop(crop)] if crop else []))(images[name])
        shape = [result.height, result.width]
        case = {"input": name, "resize": size, "filter": filter, "crop": crop, "shape": shape, "sha256": sha256(result)}
        transforms.append(case)
    lists = {"resize": resizes, "adm": crops, "transform": transforms}
    lists = [f' "{name}": [\n  ' + ",\n  ".join(map(json.dumps, cases)) + "\n ]" for name, cases in lists.items()]
    (folder / "resize.json").write_text("{\n" + ",\n".join(lists) + "\n}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
