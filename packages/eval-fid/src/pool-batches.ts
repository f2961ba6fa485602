/** From a cache of latents or tokens, batch by batch, to one vector for each image: what probes and CKNNA work on. */
import {
  AlignTokError,
  check,
  concatRows,
  type NdArray,
  ndarray,
  type OnProgress,
} from "@aligntok/core";
import { meanPool } from "./feature-statistics.ts";

/** Latents `(n, h, w, d)` or tokens `(n, t, d)`, and the class of each image where it is known. */
export interface LatentBatch {
  readonly latents: NdArray<"float32">;
  readonly labels?: Int32Array;
}

export interface PooledBatches {
  /** `(N, d)` float32. */
  readonly features: NdArray<"float32">;
  /** N class indices, where all batches have them. */
  readonly labels?: Int32Array;
}

/**
 * The mean over all positions of each image of a stream. Memory: 4 N d bytes and one batch.
 *
 * @throws AlignTokError `bad-input` for a stream without a batch, batches of different d, or labels that are missing for
 *   some batches or rows; `aborted` by the signal.
 */
export async function poolBatches(
  batches: AsyncIterable<LatentBatch> | Iterable<LatentBatch>,
  options: { readonly signal?: AbortSignal; readonly onProgress?: OnProgress } = {},
): Promise<PooledBatches> {
  const { signal, onProgress } = options;
  const features: NdArray<"float32">[] = [];
  const labels: NdArray<"int32">[] = [];
  let done = 0;
  for await (const batch of batches) {
    if (signal?.aborted) {
      throw new AlignTokError("aborted", "pooling: aborted by the caller", {
        cause: signal.reason,
      });
    }
    const count = batch.latents.shape[0] ?? 0;
    check(
      !batch.labels || batch.labels.length === count,
      () =>
        `pooling: expected ${count} labels, one a row, got ${batch.labels?.length}. label every row`,
    );
    features.push(meanPool(batch.latents));
    if (batch.labels) labels.push(ndarray(batch.labels, [count], "int32"));
    done += count;
    onProgress?.({ task: "pooling", done });
  }
  check(
    features.length > 0,
    "pooling: expected at least one batch, got none. give a file or folder that is not empty",
  );
  check(
    labels.length === 0 || labels.length === features.length,
    () =>
      `pooling: expected labels in all ${features.length} batches or in none, got ${labels.length}. label all files or none`,
  );
  return {
    features: concatRows(features),
    ...(labels.length > 0 && { labels: concatRows(labels).data }),
  };
}
