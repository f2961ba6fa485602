/** Bound weights that ONNX Runtime maps from the file in which they lie: they cost the pages that are touched, once for all graphs. */
import { statSync } from "node:fs";
import { parse, relative } from "node:path";
import { AlignTokError, byteLength, type FileRange, type NdArray } from "@aligntok/core";
import type { Graph } from "../graph/graph.ts";
import type { ExternalData } from "../onnx/builder.ts";

export interface MappedWeights {
  /** What the locations are relative to: ONNX Runtime refuses files outside of one folder. */
  readonly folder: string;
  /** By the name of the input that each stands for. */
  readonly ranges: ReadonlyMap<string, ExternalData>;
}

/** Smaller ones are read: a page is 4 KiB, and a mapping of its own costs more than reading. */
const smallest = 2 ** 16;

/**
 * Which inputs of a graph can be mapped: bound float32 matrices with a `source`.
 *
 * @throws AlignTokError `bad-input` when a file has changed since its arrays were made.
 */
export function mapWeights({ nodes, inputs }: Graph): MappedWeights | undefined {
  // Mapped weights stay as they lie in the file, whole numbers are laid out anew: for now, one or the other.
  if (nodes.some(({ op }) => op === "QuantizedLinear")) return undefined;
  const mapped = inputs.flatMap(({ name, array }) => {
    const source = array && sourceOf(array);
    return source ? [{ name, array, source }] : [];
  });
  const first = mapped[0];
  if (!first) return undefined;
  const folder = parse(first.source.path).root;
  const files = new Map(mapped.map(({ source }) => [source.path, source]));
  for (const source of files.values()) checkUnchanged(source);
  const ranges = mapped
    .filter(({ source }) => parse(source.path).root === folder)
    .map(({ name, array, source: { path, offset } }) => {
      const location = relative(folder, path).replaceAll("\\", "/");
      return [name, { location, offset, length: byteLength(array) }] as const;
    });
  return { folder, ranges: new Map(ranges) };
}

/** `data` is not looked at, for that would read it. */
function sourceOf(array: NdArray): FileRange | undefined {
  const wanted = array.dtype === "float32" && array.shape.length === 2;
  return wanted && byteLength(array) >= smallest ? array.source : undefined;
}

function checkUnchanged({ path, modified }: FileRange): void {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats?.mtimeMs === modified) return;
  throw new AlignTokError(
    "bad-input",
    `bound weights of ${path}: expected the file that was opened, got ${stats ? "one written since" : "none"}. load it again`,
  );
}
