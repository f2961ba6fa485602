import { readFileSync } from "node:fs";
import { type DType, ndarray, toFloat32 } from "@aligntok/core";
import { expect, test } from "vitest";

// tools/golden/core-float8.py: PyTorch
const golden = Object.entries(
  JSON.parse(readFileSync(new URL("./fixtures/float8.json", import.meta.url), "utf8")),
) as [DType, string[]][];
const every = Uint8Array.from({ length: 256 }, (_, bits) => bits);

test.each(golden)("all 256 patterns of %s read as in PyTorch", (dtype, texts) => {
  const { data } = toFloat32(ndarray(every, [256], dtype));
  const expected = texts.map((text) => Number(text.replace("inf", "Infinity")));
  expect(data).toEqual(Float32Array.from(expected));
});
