"""Writes image files of every supported kind and the pixels they must decode to, with Pillow.

    python image-decode.py OUT_FOLDER       writes decode.json and decode-*

Pixels are what Pillow's `open` and `convert("RGB")` give, after `exif_transpose`, except where noted: alpha is laid
over white by `alpha_composite`, and 16-bit samples keep their upper 8 bits. Needs numpy and Pillow.
"""

import base64
import io
import json
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps

WIDTH, HEIGHT = 13, 9


def picture(channels):
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    planes = [x * 255 // (WIDTH - 1), y * 255 // (HEIGHT - 1), (x * 37 + y * 91) % 256, (x * 23 + y * 5) * 2 % 256]
    array = np.stack(planes[:channels], -1).astype(np.uint8)
    array[2, :8, -1] = [0, 255, 1, 254, 0, 127, 128, 255]  # as alpha: clear, opaque and the steps beside them
    return array


def png16(array):
    """A 16-bit PNG, which Pillow does not write in colour."""
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[array.shape[2]]

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 16, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def over_white(image):
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    rgb = Image.fromarray(picture(3))
    rgba = Image.fromarray(picture(4), "RGBA")
    gray = rgb.convert("L")
    cmyk = Image.fromarray(picture(4), "CMYK")
    wide = np.random.RandomState(0).randint(0, 65536, (HEIGHT, WIDTH, 4)).astype(np.uint16)
    clear = Image.fromarray(np.arange(WIDTH * HEIGHT, dtype=np.uint8).reshape(HEIGHT, WIDTH) % 8, "P")
    clear.putpalette([c for i in range(8) for c in (i * 36, 255 - i * 36, i * 20)])

    cases = []

    def add(name, content, expected):
        (folder / f"decode-{name}").write_bytes(content)
        expected = np.asarray(expected)
        cases.append({"file": f"decode-{name}", "shape": expected.shape, "rgb": base64.b64encode(expected.tobytes()).decode()})

    def save(name, image, expected=None, **options):
        file = io.BytesIO()
        kind = {"jpg": "jpeg", "tif": "tiff"}.get(name.split(".")[-1], name.split(".")[-1])
        image.save(file, kind, **options)
        file.seek(0)
        decoded = ImageOps.exif_transpose(Image.open(file))
        add(name, file.getvalue(), expected or decoded.convert("RGB"))

    def add_pnm(name, content):
        add(name, content, Image.open(io.BytesIO(content)).convert("RGB"))

    def add_bmp(name, bits, rows, masks=(), colours=0, top_down=False, expected=None):
        """A BMP of a kind that Pillow reads and does not write; rows of numbers from top to bottom."""
        header = 40 if len(masks) < 4 else 108
        palette = b"".join(struct.pack("BBBB", i * 9, 255 - i * 5, i * 3, 0) for i in range(colours))
        masks = struct.pack(f"<{len(masks)}I", *masks)
        extra = masks.ljust(header - 40, b"\0") + palette
        lines = [row.tobytes() for row in (rows if top_down else rows[::-1])]
        lines = b"".join(line.ljust(-(-len(line) // 4) * 4, b"\0") for line in lines)
        width = rows.shape[1] * rows.itemsize * 8 // bits
        offset = 54 + len(extra)
        content = struct.pack("<2sIII", b"BM", offset + len(lines), 0, offset)
        content += struct.pack("<IiiHHIIiiII", header, width, -HEIGHT if top_down else HEIGHT, 1, bits,
                               3 if masks else 0, len(lines), 0, 0, colours, 0)
        content += extra + lines
        add(name, content, expected or Image.open(io.BytesIO(content)).convert("RGB"))

    save("420.jpg", rgb, quality=85, subsampling="4:2:0")
    save("422.jpg", rgb, quality=85, subsampling="4:2:2")
    save("444.jpg", rgb, quality=85, subsampling="4:4:4")
    save("progressive.jpg", rgb, quality=60, progressive=True)
    save("gray.jpg", gray, quality=85)
    save("cmyk.jpg", cmyk, quality=95)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        save(f"exif-{orientation}.jpg", rgb, quality=90, exif=exif)
    # sRGB with red and green exchanged: whoever applies the profile gets other colours
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    save("profile.jpg", rgb, quality=90, icc_profile=profile)
    save("rgb.png", rgb)
    save("gray.png", gray)
    save("bits.png", gray.convert("1"))
    save("palette.png", rgb.convert("P", palette=Image.Palette.ADAPTIVE, colors=16))
    save("palette-clear.png", clear, over_white(apply_transparency(clear, 3)), transparency=3)
    save("rgba.png", rgba, over_white(rgba))
    save("gray-alpha.png", rgba.convert("LA"), over_white(rgba.convert("LA")))
    for channels, name in [(1, "gray16"), (3, "rgb16"), (4, "rgba16")]:
        samples = wide[:, :, 4 - channels :]
        high = Image.fromarray((samples >> 8).astype(np.uint8).squeeze())
        add(f"{name}.png", png16(samples), over_white(high) if channels == 4 else high.convert("RGB"))
    save("rgb.gif", rgb)
    save("animated.gif", clear, clear.convert("RGB"), save_all=True, append_images=[clear.rotate(180)])
    save("rgb.webp", rgb, lossless=True)
    save("lossy.webp", rgb, quality=80)
    save("rgba.webp", rgba, over_white(rgba), lossless=True, exact=True)
    save("rgb.tif", rgb)
    save("lzw.tif", rgb, compression="tiff_lzw")
    save("cmyk.tif", cmyk)
    save("rgba.tif", rgba, over_white(rgba))
    save("rgb.bmp", rgb)
    save("gray.bmp", gray)
    save("bits.bmp", gray.convert("1"))
    save("palette.bmp", rgb.convert("P", palette=Image.Palette.ADAPTIVE, colors=16))
    add_bmp("rgb555.bmp", 16, (wide[:, :, 0] & 0x7FFF).astype("<u2"))
    add_bmp("rgb565.bmp", 16, wide[:, :, 0].astype("<u2"), masks=(0xF800, 0x7E0, 0x1F))
    add_bmp("bgrx.bmp", 32, wide[:, :, :2].copy().view("<u4")[:, :, 0], top_down=True)
    # without an alpha mask, Pillow and we ignore the fourth byte; with one, alpha is laid over white
    add_bmp("rgba.bmp", 32, np.asarray(rgba)[:, :, [2, 1, 0, 3]].copy().view("<u4")[:, :, 0],
            masks=(0xFF0000, 0xFF00, 0xFF, 0xFF000000), expected=over_white(rgba))
    nibbles = np.arange(HEIGHT * 16).reshape(HEIGHT, 16) * 7 % 16
    add_bmp("nibbles.bmp", 4, (nibbles[:, ::2] * 16 + nibbles[:, 1::2]).astype(np.uint8), colours=16)
    save("rgb.ppm", rgb)
    save("gray.ppm", gray)
    save("bits.ppm", gray.convert("1"))
    add_pnm("plain.ppm", b"P3 # a comment\n2 2 15\n0 1 2 3 4 5\n# another\n6 7 8 13 14 15\n")
    add_pnm("plain.pgm", b"P2\n3 2\n100\n0 1 50 33 99 100\n")
    add_pnm("plain.pbm", b"P1\n3 2\n101\n0 1 0\n")
    add_pnm("scaled.pgm", b"P5 13 9 200\n" + (picture(1) % 201).tobytes())
    add_pnm("rgb16.ppm", b"P6 13 9 65535\n" + wide[:, :, :3].astype(">u2").tobytes())
    # refused: one file each
    Image.fromarray(picture(1)[:, :, 0].astype(np.float32)).save(folder / "decode-float.tif")
    (folder / "decode.json").write_text("[\n " + ",\n ".join(map(json.dumps, cases)) + "\n]\n")


def apply_transparency(image, index):
    rgba = np.array(image.convert("RGBA"))
    rgba[np.asarray(image) == index, 3] = 0
    return Image.fromarray(rgba)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
