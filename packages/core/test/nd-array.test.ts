import {
  AlignTokError,
  bytesPerElement,
  concatRows,
  dtypes,
  ndarray,
  parameter,
  reshape,
  rows,
  sizeOf,
  toFloat32,
  viewBytes,
  zeros,
} from "@aligntok/core";
import { describe, expect, test } from "vitest";

const counting = ndarray(Float32Array.of(0, 1, 2, 3, 4, 5), [3, 2]);

test("sizes of shapes", () => {
  expect([[], [0, 3], [2, 3, 4]].map(sizeOf)).toEqual([1, 0, 24]);
});

test("every dtype has zeros of its width", () => {
  const widths = { float64: 8, float32: 4, float16: 2, bfloat16: 2, int64: 8, uint64: 8, bool: 1 };
  for (const dtype of dtypes) {
    const array = zeros([2, 3], dtype);
    expect(array).toMatchObject({ dtype, shape: [2, 3] });
    expect(array.data.byteLength).toBe(6 * bytesPerElement(dtype));
  }
  for (const [dtype, width] of Object.entries(widths)) {
    expect(bytesPerElement(dtype as keyof typeof widths)).toBe(width);
  }
});

test("ndarray wraps without copying and checks the size", () => {
  const data = new Float32Array(6);
  expect(ndarray(data, [2, 3]).data).toBe(data);
  expect(() => ndarray(data, [2, 2])).toThrow(
    "ndarray: expected 4 elements for shape [2,2], got 6",
  );
});

test("shapes are copies: a caller's array may change later", () => {
  const shape = [2, 3];
  const arrays = [zeros(shape), ndarray(new Float32Array(6), shape)];
  shape[0] = 9;
  for (const array of arrays) expect(array.shape).toEqual([2, 3]);
});

test("views share memory", () => {
  const bytes = new Uint8Array(16);
  const view = viewBytes(bytes.subarray(8), [2], "float32");
  view.data[1] = 1;
  expect([...bytes.subarray(12)]).toEqual([0, 0, 128, 63]);
  expect(reshape(counting, [6]).data).toBe(counting.data);
  expect(rows(counting, 1, 3).data.buffer).toBe(counting.data.buffer);
});

describe("rows", () => {
  test("a range of the first dimension", () => {
    expect(rows(counting, 1, 3)).toEqual({
      dtype: "float32",
      shape: [2, 2],
      data: Float32Array.of(2, 3, 4, 5),
    });
    expect(rows(counting, 3, 3).shape).toEqual([0, 2]);
  });

  test.each([
    [-1, 2],
    [2, 1],
    [0, 4],
    [Number.NaN, 1],
  ])("refuses %d to %d", (start, end) => {
    expect(() => rows(counting, start, end)).toThrow("rows: expected 0 <= start <= end <= 3");
  });

  test("joined again they are what they were", () => {
    const parts = [rows(counting, 0, 1), rows(counting, 1, 1), rows(counting, 1, 3)];
    expect(concatRows(parts)).toEqual(counting);
  });

  test("only arrays of one dtype and width are joined", () => {
    expect(() => concatRows([])).toThrow("at least one array");
    expect(() => concatRows([counting, zeros([1, 3])])).toThrow("expected float32 [*,2]");
    const other = zeros([1, 2], "float64") as unknown as typeof counting;
    expect(() => concatRows([counting, other])).toThrow("got float64 [1,2]");
  });
});

test("every real dtype becomes float32; float32 itself is not copied", () => {
  expect(toFloat32(counting)).toBe(counting);
  const unread = {
    ...counting,
    get data(): Float32Array {
      throw new Error("read");
    },
  };
  expect(toFloat32(unread)).toBe(unread);
  const one = {
    float16: 0x3c00,
    bfloat16: 0x3f80,
    float8_e4m3fn: 0x38,
    float8_e5m2: 0x3c,
    float8_e4m3fnuz: 0x40,
    float8_e5m2fnuz: 0x40,
    float8_e8m0fnu: 127,
  };
  for (const dtype of dtypes) {
    const array = zeros([1], dtype);
    if (dtype === "int64" || dtype === "uint64") (array.data as BigInt64Array)[0] = 1n;
    else (array.data as Float64Array)[0] = one[dtype as keyof typeof one] ?? 1;
    expect(toFloat32(array)).toEqual(ndarray(Float32Array.of(1), [1]));
  }
});

test("a parameter that is absent is named", () => {
  expect(parameter({ weight: counting }, "weight")).toBe(counting);
  const find = () => parameter({ weight: counting }, "head.bias");
  expect(find).toThrow(AlignTokError);
  expect(find).toThrow(/^parameter head\.bias: not among the 1 loaded/);
});
