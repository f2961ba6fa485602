import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { AlignTokError, ndarray, zeros } from "@aligntok/core";
import { describe, expect, test } from "vitest";
import { computeTaps } from "../src/filters.ts";
import {
  centerCrop,
  centerCropAdm,
  type Image,
  type ImageSize,
  type ResizeFilter,
  readImage,
  resize,
  resizeShortSide,
  transformImage,
} from "../src/index.ts";

const fixtures = join(import.meta.dirname, "fixtures");

interface Cases {
  readonly resize: readonly {
    readonly input: string;
    readonly width: number;
    readonly height: number;
    readonly filter: ResizeFilter;
    readonly sha256: string;
    readonly picture?: string;
  }[];
  readonly adm: readonly {
    readonly input: string;
    readonly size: number;
    readonly sha256: string;
  }[];
  readonly transform: readonly {
    readonly input: string;
    readonly resize: number | readonly [number, number] | null;
    readonly filter: ResizeFilter;
    readonly crop: number | readonly [number, number] | null;
    readonly shape: readonly [number, number];
    readonly sha256: string;
  }[];
}

const cases: Cases = JSON.parse(readFileSync(join(fixtures, "resize.json"), "utf8"));
const inputs = new Map<string, Image>();
for (const name of new Set([...cases.resize, ...cases.adm].map(({ input }) => input))) {
  inputs.set(name, await readImage(join(fixtures, `resize-${name}.png`)));
}

/** As torchvision writes sizes. */
function sizeFrom(size: number | readonly [number, number]): number | ImageSize {
  return typeof size === "number" ? size : { height: size[0], width: size[1] };
}

function sha256(image: Image): string {
  return createHash("sha256").update(image.data).digest("hex");
}

/** An image whose pixel (y, x) is [y, x, y + x]. */
function coordinates(height: number, width: number): Image {
  const data = Uint8Array.from({ length: height * width * 3 }, (_, i) => {
    const x = Math.floor(i / 3) % width;
    const y = Math.floor(i / 3 / width);
    return [y, x, y + x][i % 3]!;
  });
  return ndarray(data, [height, width, 3], "uint8");
}

describe("resize equals Pillow in every bit", () => {
  test("there are cases of every filter", () => {
    expect(new Set(cases.resize.map(({ filter }) => filter)).size).toBe(6);
    expect(cases.resize.length).toBeGreaterThan(100);
  });

  test.each(cases.resize)("$filter $input to $width x $height", async (case_) => {
    const { input, width, height, filter } = case_;
    const result = resize(inputs.get(input)!, { width, height, filter });
    expect(result.shape).toEqual([height, width, 3]);
    if (case_.picture) {
      expect(result.data).toEqual((await readImage(join(fixtures, case_.picture))).data);
    }
    expect(sha256(result)).toBe(case_.sha256);
  });

  test.each(cases.adm)("ADM crop of $input to $size", ({ input, size, sha256: expected }) => {
    const result = centerCropAdm(inputs.get(input)!, size);
    expect(result.shape).toEqual([size, size, 3]);
    expect(sha256(result)).toBe(expected);
  });
});

describe("transformImage equals torchvision in every bit", () => {
  test.each(cases.transform)("$input resized to $resize by $filter, cropped to $crop", (case_) => {
    const { input, resize: size, filter, crop, shape, sha256: expected } = case_;
    const result = transformImage(inputs.get(input)!, {
      filter,
      ...(size !== null && { resize: sizeFrom(size) }),
      ...(crop !== null && { crop: sizeFrom(crop) }),
    });
    expect(result.shape).toEqual([...shape, 3]);
    expect(sha256(result)).toBe(expected);
  });

  test("is a copy where there is nothing to do", () => {
    const image = coordinates(5, 4);
    const same = transformImage(image, {});
    expect(same).toEqual(image);
    same.data.fill(0);
    expect(image).toEqual(coordinates(5, 4));
  });

  test.each([
    [{ resize: 0 }, "transformImage resize: expected a whole number of at least 1, got 0"],
    [{ resize: { height: 3, width: 1.5 } }, "transformImage resize width: expected"],
    [{ crop: Number.NaN }, "transformImage crop height: expected"],
    [{ crop: 3, cropRounding: "up" as "floor" }, "cropRounding: expected half-even or floor, got"],
    [{ resize: 3, filter: "cubic" as ResizeFilter }, "resize filter: expected nearest"],
  ])("refuses %j", (transform, message) => {
    expect(() => transformImage(coordinates(4, 4), transform)).toThrow(message);
  });
});

describe("resize", () => {
  test("leaves its input alone and returns memory of its own", () => {
    const image = coordinates(5, 4);
    const before = image.data.slice();
    const same = resize(image, { width: 4, height: 5 });
    expect(same.data).toEqual(before);
    same.data.fill(0);
    resize(image, { width: 9, height: 3 });
    expect(image.data).toEqual(before);
  });

  test("is bicubic by default", () => {
    const image = inputs.get("noise")!;
    const size = { width: 31, height: 29 };
    expect(resize(image, size)).toEqual(resize(image, { ...size, filter: "bicubic" }));
  });

  test("weights sum to one within their precision", () => {
    for (const filter of ["box", "bilinear", "hamming", "bicubic", "lanczos"] as const) {
      const line = { inputSize: 97, outputSize: 13, start: 0, end: 97, from: 0, to: 13 };
      const { weights, stride } = computeTaps(filter, line);
      for (let i = 0; i < 13; i++) {
        const sum = weights.subarray(i * stride, (i + 1) * stride).reduce((a, b) => a + b);
        expect(Math.abs(sum - 1)).toBeLessThan(1e-12);
      }
    }
  });

  test.each([
    [{ width: 0, height: 3 }, "resize width: expected a whole number of at least 1, got 0"],
    [{ width: 3, height: 2.5 }, "resize height: expected a whole number of at least 1, got 2.5"],
    [{ width: 3, height: 2, filter: "cubic" as ResizeFilter }, "resize filter: expected nearest"],
  ])("refuses %j", (options, message) => {
    expect(() => resize(coordinates(4, 4), options)).toThrow(message);
  });

  test("refuses results that are too large, before it makes any", () => {
    const thin = zeros([100_000, 1, 3], "uint8");
    const message = "expected at most 178956970 pixels, got 256 x 25600000";
    expect(() => resizeShortSide(thin, 256)).toThrow(`transformImage: ${message}`);
    expect(() => resize(thin, { width: 256, height: 25_600_000 })).toThrow(`resize: ${message}`);
    expect(transformImage(thin, { resize: 256, crop: 4 }).shape).toEqual([4, 4, 3]);
    const limit = { maxPixels: 11 };
    expect(() => transformImage(coordinates(4, 4), { crop: 4 }, limit)).toThrow("most 11 pixels");
    expect(() => resize(thin, { width: 3, height: 4, ...limit })).toThrow("most 11 pixels");
    expect(resize(thin, { width: 11, height: 1, ...limit }).shape).toEqual([1, 11, 3]);
  });

  test("refuses lines whose weights would fill the memory", () => {
    const line = zeros([1, 20_000_000, 1], "uint8");
    expect(() => resize(line, { width: 224, height: 224 })).toThrow(
      "resize: expected at most 67108864 weights, got 224 times 357145",
    );
  });

  const box = { left: 0, top: 0, right: 4, bottom: 4 };
  test.each([
    [{ ...box, left: -1 }, "left -1, right 4, top 0, bottom 4"],
    [
      { ...box, right: 4.5 },
      "0 <= left < right <= 4 and 0 <= top < bottom <= 5, got left 0, right 4.5",
    ],
    [{ ...box, top: 4 }, "top 4, bottom 4"],
    [{ ...box, bottom: Number.NaN }, "bottom NaN"],
  ])("refuses box %j", (wrong, message) => {
    const image = coordinates(5, 4);
    expect(() => resize(image, { width: 2, height: 2, box: wrong })).toThrow(message);
  });

  test("refuses what is no image", () => {
    const gray = zeros([4, 4], "uint8");
    expect(() => resize(gray, { width: 2, height: 2 })).toThrow("got [4,4] of uint8");
    const float = zeros([4, 4, 3], "float64") as unknown as Image;
    expect(() => resize(float, { width: 2, height: 2 })).toThrow(AlignTokError);
  });
});

describe("resizeShortSide", () => {
  test.each([
    [375, 500, 256, [256, 341]], // 341.33 rounds down
    [500, 375, 256, [341, 256]],
    [173, 307, 128, [128, 227]],
    [40, 40, 16, [16, 16]],
    [10, 31, 20, [20, 62]],
  ])("%i x %i to %i", (height, width, size, [newHeight, newWidth]) => {
    const result = resizeShortSide(zeros([height, width, 3], "uint8"), size);
    expect(result.shape).toEqual([newHeight, newWidth, 3]);
  });

  test("resizes with the filter asked for", () => {
    const image = inputs.get("noise")!; // 61 x 47
    expect(resizeShortSide(image, 23, { filter: "lanczos" })).toEqual(
      resize(image, { width: 29, height: 23, filter: "lanczos" }),
    );
  });
});

describe("centerCrop", () => {
  test.each([
    [8, 4, 2],
    [9, 4, 2], // 2.5 rounds to 2, as in torchvision
    [7, 4, 2], // 1.5 rounds to 2
    [5, 4, 0], // 0.5 rounds to 0
    [4, 4, 0],
  ])("takes rows of %i to %i from row %i", (height, size, top) => {
    const crop = centerCrop(coordinates(height, 12), { height: size, width: 2 });
    expect(crop.shape).toEqual([size, 2, 3]);
    expect([...crop.data.subarray(0, 3)]).toEqual([top, 5, top + 5]);
    expect([...crop.data.subarray(-3)]).toEqual([top + size - 1, 6, top + size + 5]);
  });

  test.each([
    [9, 2],
    [7, 1], // 1.5 becomes 1, as in transformers
    [5, 0],
  ])("of %i rows takes those from %i, rounding down", (height, top) => {
    const size = { height: 4, width: 2 };
    const crop = transformImage(coordinates(height, 12), { crop: size, cropRounding: "floor" });
    expect([...crop.data.subarray(0, 3)]).toEqual([top, 5, top + 5]);
  });

  test("lays an image that is too small on black", () => {
    const crop = centerCrop(coordinates(1, 3), { height: 3, width: 2 });
    expect([...crop.data]).toEqual([...Array(6).fill(0), 0, 0, 0, 0, 1, 1, ...Array(6).fill(0)]);
  });

  test("returns memory of its own", () => {
    const image = coordinates(4, 4);
    centerCrop(image, 4).data.fill(9);
    expect(image).toEqual(coordinates(4, 4));
  });
});
