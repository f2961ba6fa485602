/** The index of a model in several files, as Hugging Face writes it: `{ metadata, weight_map: { tensor: file } }`. */
import { AlignTokError } from "@aligntok/core";

/** What an index says, checked: files lie in the folder of the index. */
export interface ShardIndex {
  /** Never empty. */
  readonly weightMap: ReadonlyMap<string, string>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A visible file of the same folder. */
const plainName = /^[^./\\\0][^/\\\0]*$/;

/** @throws AlignTokError `bad-format` */
export function parseShardIndex(text: string, path: string): ShardIndex {
  let index: unknown;
  try {
    index = JSON.parse(text);
  } catch (error) {
    throw disagrees(path, `expected JSON, got ${(error as Error).message}`);
  }
  const { weight_map: map, metadata } = (index ?? {}) as Record<string, unknown>;
  const isMap = typeof map === "object" && map !== null && !Array.isArray(map);
  const entries: [string, unknown][] = isMap ? Object.entries(map) : [];
  if (entries.length === 0) {
    throw disagrees(path, "expected a weight_map of tensors and files, got none");
  }
  for (const [name, file] of entries) {
    if (typeof file !== "string" || !plainName.test(file)) {
      throw disagrees(
        path,
        `expected a file beside the index for ${name}, got ${JSON.stringify(file)?.slice(0, 80)}`,
      );
    }
  }
  // total_size follows from the tensors
  const { total_size: _, ...rest } = (metadata ?? {}) as Record<string, unknown>;
  const texts = Object.entries(rest).map(([key, value]) => [
    key,
    typeof value === "string" ? value : JSON.stringify(value),
  ]);
  return {
    weightMap: new Map(entries as [string, string][]),
    metadata: Object.fromEntries(texts),
  };
}

export function disagrees(path: string, problem: string): AlignTokError {
  return new AlignTokError(
    "bad-format",
    `index ${path}: ${problem}. the index and its files are not of one download`,
  );
}
