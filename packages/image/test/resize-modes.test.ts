import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { viewBytes } from "@aligntok/core";
import { expect, test, vi } from "vitest";
import type { PixelType } from "../src/image.ts";
import { type ResizeFilter, resize } from "../src/index.ts";

type Hashes = Readonly<Record<ResizeFilter, string>>;
interface Case {
  readonly mode: string;
  readonly input: string;
  readonly width: number;
  readonly height: number;
  readonly box: readonly [number, number, number, number] | null;
  /** The first 16 digits. */
  readonly sha256: Hashes;
}

const file = join(import.meta.dirname, "fixtures/resize-modes.json");
const golden: {
  readonly inputs: readonly {
    readonly mode: string;
    readonly input: string;
    readonly dtype: PixelType;
    readonly shape: readonly number[];
    readonly data: string;
  }[];
  readonly cases: readonly Case[];
} = JSON.parse(readFileSync(file, "utf8"));

const filters = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] as const;
const inputs = new Map(
  golden.inputs.map(({ mode, input, dtype, shape, data }) => [
    `${mode} ${input}`,
    viewBytes(Uint8Array.from(Buffer.from(data, "base64")), shape, dtype),
  ]),
);

function hashesOf({ mode, input, width, height, box }: Case, resizer: typeof resize): Hashes {
  const image = inputs.get(`${mode} ${input}`)!;
  const [left, top, right, bottom] = box ?? [];
  const hashOf = (filter: ResizeFilter) => {
    const result = resizer(image, {
      width,
      height,
      filter,
      ...(box && { box: { left, top, right, bottom } as never }),
    });
    expect(result.dtype).toBe(image.dtype);
    expect(result.shape).toEqual([height, width, image.shape[2]]);
    return createHash("sha256").update(result.data).digest("hex").slice(0, 16);
  };
  return Object.fromEntries(filters.map((filter) => [filter, hashOf(filter)])) as Hashes;
}

test.each(golden.cases)(
  "$mode $input, box $box, to $width x $height equals Pillow in every bit",
  (case_) => {
    expect(hashesOf(case_, resize)).toEqual(case_.sha256);
  },
);

test.each(["L", "LA", "RGB", "RGBA"])(
  "without WebAssembly, %s equals Pillow in every bit",
  async (wanted) => {
    vi.stubGlobal("WebAssembly", undefined);
    vi.resetModules();
    const { resize: plain } = await import("../src/index.ts");
    for (const case_ of golden.cases.filter(({ mode }) => mode === wanted)) {
      expect(hashesOf(case_, plain)).toEqual(case_.sha256);
    }
    vi.unstubAllGlobals();
  },
);
