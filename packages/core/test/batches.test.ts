import { expect, test } from "vitest";
import { AlignTokError, batchRanges, checkBatchSize } from "../src/index.ts";

test("batchRanges covers every row once: full batches, then powers of two", () => {
  expect([...batchRanges(21, 8)]).toEqual([
    [0, 8],
    [8, 16],
    [16, 20],
    [20, 21],
  ]);
  expect([...batchRanges(3, 8)]).toEqual([
    [0, 2],
    [2, 3],
  ]);
  expect([...batchRanges(0, 8)]).toEqual([]);
});

test("checkBatchSize refuses what is no positive whole number", () => {
  checkBatchSize(1);
  for (const size of [0, -1, 1.5, Number.NaN]) expect(() => checkBatchSize(size)).toThrow(/got/);
  try {
    checkBatchSize(0);
  } catch (error) {
    expect(AlignTokError.isInstance(error) && error.code).toBe("bad-input");
  }
});
