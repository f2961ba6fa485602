import { freemem, totalmem } from "node:os";
import { AlignTokError } from "@aligntok/core";

/**
 * The error for an allocation that an engine was refused.
 *
 * @param what what was under way @param wanted how much, and for what
 */
export function outOfMemory(what: string, wanted: string, cause: unknown): AlignTokError {
  return new AlignTokError(
    "out-of-memory",
    `${what}: expected room for ${wanted}, got ${gigabytes(freemem())} free of ${gigabytes(totalmem())}. make batches or images smaller, or dispose of compiled functions that are not needed`,
    { cause },
  );
}

/** Bytes as `1.5 GB`, of 2^30 bytes each. */
export function gigabytes(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)} GB`;
}
