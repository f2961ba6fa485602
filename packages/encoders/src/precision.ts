import { check, listSome } from "@aligntok/core";
import type { Precision } from "@aligntok/jit";

const precisions = ["float32", "int8", "bfloat16"] as const satisfies Precision[];

/** At once rather than with the first images. @throws AlignTokError `bad-input` for another */
export function checkPrecision(precision: Precision = "float32"): void {
  check(
    precisions.includes(precision),
    () => `precision: expected ${listSome(precisions)}, got ${String(precision)}`,
  );
}
