import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AlignTokError, ndarray } from "@aligntok/core";
import { sharedData } from "@aligntok/testing";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeImage, encodeJpeg, encodePng, type Image, readImage } from "../src/index.ts";

const fixtures = join(import.meta.dirname, "fixtures");
const cases: readonly {
  readonly file: string;
  readonly shape: number[];
  readonly rgb: string;
  /** Levels that a value may be off by; none where it is not given. */
  readonly tolerance?: number;
}[] = JSON.parse(readFileSync(join(fixtures, "decode.json"), "utf8"));

function fixture(file: string): Uint8Array {
  return new Uint8Array(readFileSync(join(fixtures, file)));
}

function compressedBmp(): Uint8Array {
  const bytes = fixture("decode-gray.bmp");
  bytes[30] = 1;
  return bytes;
}

function gradient(height: number, width: number): Image {
  const data = Uint8Array.from({ length: height * width * 3 }, (_, i) => (i * 5) % 256);
  return ndarray(data, [height, width, 3], "uint8");
}

async function failure(promise: Promise<unknown>): Promise<AlignTokError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(AlignTokError.isInstance(error), String(error)).toBe(true);
  return error as AlignTokError;
}

describe("decodeImage gives Pillow's pixels", () => {
  test.each(cases)("$file", async ({ file, shape, rgb, tolerance }) => {
    const image = await decodeImage(fixture(file));
    expect(image.shape).toEqual(shape);
    expect(image.dtype).toBe("uint8");
    const expected = new Uint8Array(Buffer.from(rgb, "base64"));
    if (!tolerance) return expect(image.data).toEqual(expected);
    const off = Math.max(...expected.map((value, i) => Math.abs(value - image.data[i]!)));
    expect(off).toBeLessThanOrEqual(tolerance);
  });

  const photographs = sharedData("imagenet-256");
  test.skipIf(!photographs)("real photographs (skipped without ../shared/data)", async () => {
    // made with: python -c "print(sha256(Image.open(f).convert('RGB').tobytes()))"
    const expected = {
      "n01440764/n01440764_0.JPEG":
        "e26e4f0e64dcf715b9f94ca1b72f03c47943f82e00aa045acfe795b5218ff897",
      "n02097474/n02097474_0.JPEG":
        "08182e142f43cde8ac14f7279e3e4296cfe19259b51eb5552b218cb8392b0b43",
      "n02669723/n02669723_0.JPEG":
        "ab2052c5a14cb38650a71d0610800d4c51be01670e032ef92869dcf4bcbe91db",
      "n03532672/n03532672_0.JPEG":
        "66dbb0121a65b468ad68fa3e52c55b3f0498ace31c9eb4020291b11eb453b20b",
      "n04243546/n04243546_0.JPEG":
        "606ecf8a7fd3fb9051da5cc298ff425863c02c7737d47fbe840d122c052562e0",
    };
    for (const [file, sha256] of Object.entries(expected)) {
      const { data } = await readImage(join(photographs!, file));
      expect(createHash("sha256").update(data).digest("hex"), file).toBe(sha256);
    }
  });
});

describe("what cannot be decoded is refused by name", () => {
  test.each([
    ["text", new TextEncoder().encode("<html>404</html>"), "bad-format", "3c 68 74 6d"],
    ["nothing", new Uint8Array(), "bad-format", "an empty file"],
    ["noise", Uint8Array.from({ length: 64 }, (_, i) => i * 37), "bad-format", "00 25 4a"],
    ["compressed BMP", compressedBmp(), "unsupported", "got 8 bits with compression 1"],
    ["float TIFF", fixture("decode-float.tif"), "unsupported", "1 channels of b-w, float"],
    [
      "SVG",
      new TextEncoder().encode('<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>'),
      "unsupported",
      "got svg",
    ],
  ])("%s", async (_, bytes, code, text) => {
    const error = await failure(decodeImage(bytes, { name: "photos/a b.jpg" }));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(/^photos\/a b\.jpg: expected /);
    expect(error.message).toContain(text);
  });

  test.each([
    "420.jpg",
    "progressive.jpg",
    "rgb.png",
    "rgb.gif",
    "rgb.webp",
    "rgb.tif",
    "rgb.bmp",
    "palette.bmp",
    "rgb.ppm",
    "bits.ppm",
    "plain.ppm",
  ])("truncated %s", async (file) => {
    const bytes = fixture(`decode-${file}`);
    const cut = bytes.subarray(0, Math.floor(bytes.length * 0.8));
    const error = await failure(decodeImage(cut, { name: "cut" }));
    expect(error.code).toBe("bad-format");
    expect(error.message).toMatch(/^cut: expected a complete .* file, got a truncated or damaged/);
  });

  test("a damaged PNG", async () => {
    const bytes = fixture("decode-rgb.png");
    bytes[bytes.length >> 1]! ^= 0xff;
    expect((await failure(decodeImage(bytes))).code).toBe("bad-format");
  });

  test("too many pixels, before decoding", async () => {
    // a PNG of 100,000 x 100,000 pixels in 67 bytes: only its header is true
    const bytes = fixture("decode-rgb.png");
    new DataView(bytes.buffer).setUint32(16, 100_000);
    new DataView(bytes.buffer).setUint32(20, 100_000);
    bytes.set(crcOfHeader(bytes), 29);
    const error = await failure(decodeImage(bytes, { name: "bomb.png" }));
    expect(error.message).toContain(
      "bomb.png: expected at most 178956970 pixels, got 100000 x 100000",
    );
    expect(error.code).toBe("bad-input");
    await failure(decodeImage(fixture("decode-rgb.png"), { maxPixels: 116 }));
    await decodeImage(fixture("decode-rgb.png"), { maxPixels: 117 });
  });

  test("mutated files never raise anything but an AlignTokError", async () => {
    const files = [
      "420.jpg",
      "rgb.png",
      "rgb.gif",
      "partial-one.gif",
      "rgba.webp",
      "lzw.tif",
      "palette.bmp",
      "rgb565.bmp",
      "rgba.bmp",
      "rgb.ppm",
      "plain.pgm",
    ].map((name) => fixture(`decode-${name}`));
    const mutation = fc.record({
      file: fc.constantFrom(...files),
      edits: fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 8 }),
      keep: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    await fc.assert(
      fc.asyncProperty(mutation, async ({ file, edits, keep }) => {
        const bytes = file.slice(0, Math.ceil(file.length * keep));
        for (const [at, value] of edits) if (bytes.length) bytes[at % bytes.length] = value;
        const result = await decodeImage(bytes, { maxPixels: 1e6 }).catch(
          (error: unknown) => error,
        );
        if (AlignTokError.isInstance(result)) return;
        const { shape, data } = result as Image;
        expect(data.length).toBe(shape[0]! * shape[1]! * 3);
      }),
      { numRuns: 200 },
    );
  });
});

describe("readImage", () => {
  test("reads a file and names it in errors", async () => {
    const image = await readImage(join(fixtures, "decode-rgb.png"));
    expect(image.shape).toEqual([9, 13, 3]);
    const missing = await failure(readImage(join(fixtures, "absent.png")));
    expect(missing.code).toBe("not-found");
    expect(missing.message).toContain("absent.png");
    expect((await failure(readImage(fixtures))).code).toBe("io");
    const folder = await mkdtemp(join(tmpdir(), "image-"));
    const broken = join(folder, "broken.png");
    writeFileSync(broken, "not an image");
    expect((await failure(readImage(broken))).message).toContain(`${broken}: expected a JPEG`);
    await rm(folder, { recursive: true });
  });
});

describe("encoding", () => {
  test("PNG keeps every bit", async () => {
    const image = gradient(37, 21);
    expect(await decodeImage(await encodePng(image))).toEqual(image);
  });

  test("a view into a batch is encoded alone", async () => {
    const batch = gradient(8, 5);
    const half = ndarray(batch.data.subarray(60), [4, 5, 3], "uint8");
    expect((await decodeImage(await encodePng(half))).data).toEqual(batch.data.slice(60));
  });

  test("JPEG is close, and closer and larger with more quality", async () => {
    const image = ndarray(
      Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (Math.floor(i / 3) % 64) * 3),
      [64, 64, 3],
      "uint8",
    );
    const error = async (bytes: Uint8Array) => {
      const { data } = await decodeImage(bytes);
      return data.reduce((sum, v, i) => sum + Math.abs(v - image.data[i]!), 0) / data.length;
    };
    const good = await encodeJpeg(image, { quality: 95 });
    const poor = await encodeJpeg(image, { quality: 10 });
    expect(await error(good)).toBeLessThan(1);
    expect(await error(poor)).toBeGreaterThan(await error(good));
    expect(poor.length).toBeLessThan(good.length);
    expect(await encodeJpeg(image)).toEqual(await encodeJpeg(image, { quality: 90 }));
  });

  test("refuses a bad quality and what is no image", async () => {
    expect((await failure(encodeJpeg(gradient(2, 2), { quality: 0 }))).code).toBe("bad-input");
    const batch = ndarray(new Uint8Array(24), [2, 2, 2, 3], "uint8");
    expect((await failure(encodePng(batch))).message).toContain("got [2,2,2,3] of uint8");
  });
});

/** CRC-32 of the IHDR chunk of a PNG, big-endian. */
function crcOfHeader(png: Uint8Array): Uint8Array {
  let crc = 0xffffffff;
  for (const byte of png.subarray(12, 29)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, ~crc >>> 0);
  return bytes;
}
