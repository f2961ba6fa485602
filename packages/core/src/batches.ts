/** Rows of any number, cut into batches for compiled graphs, which each serve one size. */
import { check } from "./error.ts";

/** @throws AlignTokError `bad-input` unless `batchSize` is a whole number of at least 1 */
export function checkBatchSize(batchSize: number): void {
  check(
    Number.isInteger(batchSize) && batchSize >= 1,
    () => `batchSize: expected a positive whole number, got ${batchSize}`,
  );
}

/** First row and the row after the last of each batch: full ones, then powers of two, so that few graphs serve every count. */
export function* batchRanges(
  count: number,
  batchSize: number,
): Generator<readonly [start: number, end: number]> {
  for (let start = 0; start < count; ) {
    const left = count - start;
    const end = start + (left >= batchSize ? batchSize : 2 ** Math.floor(Math.log2(left)));
    yield [start, end];
    start = end;
  }
}
