import { createRandom } from "@aligntok/core";
import { expect, test } from "vitest";
import { computeTaps } from "../src/filters.ts";
import { openRowSums } from "../src/row-sums.ts";
import { openVectorSums } from "../src/vector-sums.ts";

const random = createRandom(0);

/** Lines that fit the memory that is kept, and one of 6 MB that does not. */
test.each([
  [1, 40, 13],
  [2, 1000, 7],
  [3, 17, 64],
  [4, 300, 299],
  [3, 2_000_000, 4],
])(
  "%i channels, %i pixels to %i: vectors sum as plain numbers do",
  (channels, inputSize, outputSize) => {
    const line = { inputSize, outputSize, start: 0, end: inputSize, from: 0, to: outputSize };
    const across = computeTaps("lanczos", line);
    const column = { inputSize: 5, outputSize: 3, start: 0, end: 5, from: 0, to: 3 };
    const down = computeTaps("bicubic", column);
    const size = (inputSize * 7 + outputSize + 32) * channels;
    const options = { channels, size, across, down };
    const vector = openVectorSums(options)!;
    const plain = openRowSums({ dtype: "uint8", ...options });
    for (let i = 0; i < inputSize * channels * 5; i++) {
      vector.rows[i] = plain.rows[i] = Math.floor(random.uniform() * 256);
    }
    const result = inputSize * channels * 6;
    for (const sums of [vector, plain]) sums.across(0, result);
    const length = outputSize * channels;
    expect(Array.from(vector.rows.subarray(result, result + length))).toEqual(
      Array.from(plain.rows.subarray(result, result + length)),
    );
    for (let y = 0; y < 3; y++) {
      const rows = inputSize * channels;
      const [first, count] = [down.firsts[y]!, down.counts[y]!];
      expect(first + count).toBeLessThanOrEqual(5);
      for (const sums of [vector, plain]) sums.down(y, first * rows, result, rows);
      const got = vector.rows.subarray(result, result + rows);
      const wanted = plain.rows.subarray(result, result + rows);
      expect(got.every((value, i) => value === wanted[i])).toBe(true);
    }
  },
);
