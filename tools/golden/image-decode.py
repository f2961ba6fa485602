"""Writes image files of every supported kind and the pixels they must decode to, with Pillow.

    python image-decode.py OUT_FOLDER       writes decode.json and decode-*

Pixels are what Pillow's `open` and `convert("RGB")` give, after `exif_transpose`, with alpha laid over white by
`alpha_composite`. Two things differ from Pillow on purpose: gray of 16 bits keeps its upper 8, where Pillow makes all
above 255 white, and the transparent colour of a PNG is compared in the depth of the file, where Pillow compares it to
8 bits. Needs numpy and Pillow.
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


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(kind, bits, rows, width=WIDTH, **chunks):
    """A PNG of rows of bytes, of a kind that Pillow reads and does not write."""
    header = struct.pack(">IIBBBBB", width, len(rows), bits, kind, 0, 0, 0)
    chunks = b"".join(chunk(name.encode(), data) for name, data in chunks.items())
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunks + data + chunk(b"IEND", b"")


def png16(array, **chunks):
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[array.shape[2]]
    return png(kind, 16, [row.astype(">u2").tobytes() for row in array], **chunks)


def packed(values, bits):
    """Rows of small numbers as bytes."""
    planes = (values[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1
    return [row.tobytes() for row in np.packbits(planes.reshape(len(values), -1).astype(np.uint8), axis=1)]


def larger_gif(content, background):
    """The file with a picture that is larger than its frames."""
    content = bytearray(content)
    content[6], content[8], content[11] = WIDTH + 3, HEIGHT + 2, background
    return bytes(content)


def larger_webp(content):
    content = bytearray(content)
    content[24], content[27] = WIDTH + 3 - 1, HEIGHT + 2 - 1
    return bytes(content)


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

    def add(name, content, expected, tolerance=0):
        (folder / f"decode-{name}").write_bytes(content)
        expected = np.asarray(expected)
        case = {"file": f"decode-{name}", "shape": expected.shape, "rgb": base64.b64encode(expected.tobytes()).decode()}
        cases.append({**case, "tolerance": tolerance} if tolerance else case)

    def save(name, image, expected=None, **options):
        file = io.BytesIO()
        kind = {"jpg": "jpeg", "tif": "tiff"}.get(name.split(".")[-1], name.split(".")[-1])
        image.save(file, kind, **options)
        file.seek(0)
        decoded = ImageOps.exif_transpose(Image.open(file))
        add(name, file.getvalue(), expected or decoded.convert("RGB"))

    def save_as_is(name, image, tolerance=0, **options):
        file = io.BytesIO()
        image.save(file, {"tif": "tiff"}.get(name.split(".")[-1], name.split(".")[-1]), **options)
        add_as_is(name, file.getvalue(), tolerance)

    def add_as_is(name, content, tolerance=0):
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
        add(name, content, over_white(image) if image.has_transparency_data else image.convert("RGB"), tolerance)

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
    inks = (folder / "decode-cmyk.jpg").read_bytes()
    adobe = inks.index(b"Adobe")
    add_as_is("ycck.jpg", inks[: adobe + 11] + b"\2" + inks[adobe + 12 :])
    add_as_is("cmyk-plain.jpg", inks[: adobe - 4] + inks[adobe + 12 :])  # no Adobe marker
    save("cmyk-progressive.jpg", cmyk, quality=80, progressive=True)
    save("coarse.jpg", rgb, quality=10)
    save("rgb.jpg", rgb, quality=90, keep_rgb=True)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        save(f"exif-{orientation}.jpg", rgb, quality=90, exif=exif)
    # sRGB with red and green exchanged: whoever applies the profile gets other colours
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    profile = profile[:24] + bytes(12) + profile[36:]  # the time it was made
    save("profile.jpg", rgb, quality=90, icc_profile=profile)
    save("rgb.png", rgb)
    save("gray.png", gray)
    save("bits.png", gray.convert("1"))
    save("palette.png", rgb.convert("P", palette=Image.Palette.ADAPTIVE, colors=16))
    save("palette-clear.png", clear, over_white(apply_transparency(clear, 3)), transparency=3)
    save("rgba.png", rgba, over_white(rgba))
    save("gray-alpha.png", rgba.convert("LA"), over_white(rgba.convert("LA")))
    for channels, name in [(1, "gray16"), (2, "gray-alpha16"), (3, "rgb16"), (4, "rgba16")]:
        samples = wide[:, :, 4 - channels :]
        mode = ["L", "LA", "RGB", "RGBA"][channels - 1]
        high = Image.frombytes(mode, (WIDTH, HEIGHT), (samples >> 8).astype(np.uint8).tobytes())
        add(f"{name}.png", png16(samples), high.convert("RGB") if channels % 2 else over_white(high))
        if channels % 2:
            key = samples[2, 2]
            shown = np.array(high.convert("RGB"))
            shown[(samples == key).all(-1)] = 255
            add(f"{name}-key.png", png16(samples, tRNS=key.astype(">u2").tobytes()), shown)
    steps = np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH) * 7
    for bits in [1, 2, 4, 8]:
        count = 1 << bits
        rows = packed(steps % count, bits)
        palette = bytes((i * c + c * 31) % 256 for i in range(count) for c in (37, 91, 151))
        if bits < 8:
            add_as_is(f"gray{bits}.png", png(0, bits, rows))
        add_as_is(f"palette{bits}.png", png(3, bits, rows, PLTE=palette))
        add_as_is(f"palette{bits}-alpha.png", png(3, bits, rows, PLTE=palette, tRNS=bytes([0, 128, 255, 7][:count])))
    save_as_is("gray-key.png", gray, transparency=int(np.asarray(gray)[4, 4]))
    save_as_is("rgb-key.png", rgb, transparency=tuple(map(int, np.asarray(rgb)[4, 4])))
    save_as_is("bits-key.png", gray.convert("1"), transparency=0)
    exif = Image.Exif()
    exif[0x0112] = 6
    save("exif.png", rgb, exif=exif)
    save("exif.webp", rgb, exif=exif, lossless=True)
    save("exif.tif", rgb, tiffinfo={0x0112: 6})
    turned = {"save_all": True, "append_images": [rgb.rotate(180)]}
    save("animated.png", rgb, **turned)
    save("animated-default.png", rgb, default_image=True, **turned)
    save_as_is("animated.webp", rgb, lossless=True, **turned)
    save_as_is("lossy-alpha.webp", rgba, quality=80)
    for background in [(0, 0, 0, 0), (10, 200, 30, 255)]:
        file = io.BytesIO()
        rgba.save(file, "webp", lossless=True, exact=True, background=background, **turned)
        add_as_is(f"partial-{background[1]}.webp", larger_webp(file.getvalue()))
    for name, options in {"one": {}, "animated": turned, "clear": {**turned, "transparency": 3, "disposal": 2}}.items():
        file = io.BytesIO()
        clear.save(file, "gif", **options)
        add_as_is(f"whole-{name}.gif", file.getvalue())
        add_as_is(f"partial-{name}.gif", larger_gif(file.getvalue(), background=5))
    save_as_is("gray.avif", gray, quality=90)
    # libheif rounds otherwise than libavif; with 4:2:0 it also spreads colours otherwise, which has no fixture
    save_as_is("444.avif", rgb, tolerance=1, quality=90, subsampling="4:4:4")
    save("pages.tif", rgb, **turned)
    save("palette.tif", clear)
    save("bits.tif", gray.convert("1"))
    save_as_is("gray-alpha.tif", rgba.convert("LA"))
    save("jpeg.tif", rgb, compression="jpeg", quality=90)
    gray16 = Image.frombytes("I;16", (WIDTH, HEIGHT), wide[:, :, 3].tobytes())
    save("gray16.tif", gray16, Image.fromarray((wide[:, :, 3] >> 8).astype(np.uint8)).convert("RGB"))
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
    add_as_is("plain.ppm", b"P3 # a comment\n2 2 15\n0 1 2 3 4 5\n# another\n6 7 8 13 14 15\n")
    add_as_is("plain.pgm", b"P2\n3 2\n100\n0 1 50 33 99 100\n")
    add_as_is("plain.pbm", b"P1\n3 2\n101\n0 1 0\n")
    add_as_is("scaled.pgm", b"P5 13 9 200\n" + (picture(1) % 201).tobytes())
    add_as_is("rgb16.ppm", b"P6 13 9 65535\n" + wide[:, :, :3].astype(">u2").tobytes())
    # refused: one file each
    Image.fromarray(picture(1)[:, :, 0].astype(np.float32)).save(folder / "decode-float.tif")
    (folder / "decode.json").write_text("[\n " + ",\n ".join(map(json.dumps, cases)) + "\n]\n")


def apply_transparency(image, index):
    rgba = np.array(image.convert("RGBA"))
    rgba[np.asarray(image) == index, 3] = 0
    return Image.fromarray(rgba)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
