import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import {
  bfloat16ToFloat32,
  float16ToFloat32,
  float32ToBfloat16,
  float32ToFloat16,
} from "@aligntok/core";
import { describe, expect, test } from "vitest";

// tools/golden/core-half.py: NumPy and PyTorch
const golden = JSON.parse(
  readFileSync(new URL("./fixtures/half.json", import.meta.url), "utf8"),
) as {
  float16Sha256: string;
  bfloat16Sha256: string;
  float32Bits: number[];
  float16Bits: number[];
  bfloat16Bits: number[];
};

const every = Uint16Array.from({ length: 65536 }, (_, bits) => bits);
const float32 = new Float32Array(Uint32Array.from(golden.float32Bits).buffer);

/** NaN payloads are not compared. */
function digest(values: Float32Array): string {
  return createHash("sha256")
    .update(values.map((value) => (Number.isNaN(value) ? 0 : value)))
    .digest("hex");
}

describe("all 65,536 patterns read as in Python", () => {
  test("float16", () => expect(digest(float16ToFloat32(every))).toBe(golden.float16Sha256));
  test("bfloat16", () => expect(digest(bfloat16ToFloat32(every))).toBe(golden.bfloat16Sha256));
});

describe("rounds to nearest, ties to even, as in Python", () => {
  test("float16", () => expect([...float32ToFloat16(float32)]).toEqual(golden.float16Bits));
  test("bfloat16", () => expect([...float32ToBfloat16(float32)]).toEqual(golden.bfloat16Bits));

  test("a view that does not start its buffer", () => {
    expect([...float32ToBfloat16(float32.subarray(7))]).toEqual(golden.bfloat16Bits.slice(7));
  });
});

test("patterns survive the way to float32 and back; NaN stays NaN", () => {
  const numbers = every.filter((bits) => (bits & 0x7fff) <= 0x7c00);
  expect(float32ToFloat16(float16ToFloat32(numbers))).toEqual(numbers);
  const brains = every.filter((bits) => (bits & 0x7fff) <= 0x7f80);
  expect(float32ToBfloat16(bfloat16ToFloat32(brains))).toEqual(brains);
  const nan = Float32Array.of(Number.NaN);
  expect(float16ToFloat32(float32ToFloat16(nan))).toEqual(nan);
  expect(bfloat16ToFloat32(float32ToBfloat16(nan))).toEqual(nan);
});
