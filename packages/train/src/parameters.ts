import {
  AlignTokError,
  check,
  listSome,
  type NdArray,
  type Parameters,
  sizeOf,
} from "@aligntok/core";
import { allocateBeside, allocateFlat } from "./flat-memory.ts";

/**
 * Parameters laid end to end in one array, so that an optimizer is one loop and gradients one buffer.
 * Writing to `flat` changes the views and the other way round: they share memory.
 */
export interface FlatParameters {
  /** All elements, in the order of `names`, without gaps. */
  readonly flat: Float32Array;
  /** The same memory under the parameters' own names and shapes. */
  readonly views: Parameters;
  /** Names in order. */
  readonly names: readonly string[];
  /** Start of each parameter in `flat`, and the total length at the end: one more entry than `names`. */
  readonly offsets: readonly number[];
}

/**
 * Copies parameters into one new array, in the order of the record's keys.
 * @throws AlignTokError `bad-input` where one is not float32 or its data does not fit its shape.
 */
export function flattenParameters(params: Parameters): FlatParameters {
  const names = Object.keys(params);
  const shapes = names.map((name) => params[name]!.shape);
  const flattened = layOut(names, shapes, allocateFlat);
  for (const name of names) {
    const { dtype, data, shape } = params[name] as NdArray;
    check(
      dtype === "float32" && data.length === sizeOf(shape),
      () =>
        `parameter ${name}: expected float32 with ${sizeOf(shape)} elements for shape [${shape}], got ${dtype} with ${data.length}. convert with toFloat32 first`,
    );
    flattened.views[name]!.data.set(data as Float32Array);
  }
  return flattened;
}

/** Zeros in the same layout: a gradient buffer whose views a compiled step fills in place. */
export function zerosLike(parameters: FlatParameters): FlatParameters {
  const { names, views, flat } = parameters;
  const shapes = names.map((name) => views[name]!.shape);
  return layOut(names, shapes, () => allocateBeside(flat));
}

/**
 * Copies saved values into parameters of the same names and shapes; other saved names are left alone.
 * @throws AlignTokError `not-found` where one is missing, `bad-input` where dtype or shape differ.
 */
export function assignParameters(
  parameters: FlatParameters,
  saved: Readonly<Record<string, NdArray>>,
): void {
  for (const [name, { shape, data }] of Object.entries(parameters.views)) {
    const found = saved[name];
    if (!found) {
      throw new AlignTokError(
        "not-found",
        `parameter ${name}: expected float32 [${shape}], got none among ${Object.keys(saved).length} saved. the file belongs to another model`,
      );
    }
    check(
      found.dtype === "float32" && found.shape.join() === shape.join(),
      () =>
        `parameter ${name}: expected float32 [${shape}], got ${found.dtype} [${found.shape}]. the file belongs to another model`,
    );
    data.set(found.data as Float32Array);
  }
}

function layOut(
  names: readonly string[],
  shapes: readonly (readonly number[])[],
  allocate: (length: number) => Float32Array,
): FlatParameters {
  const offsets = [0];
  for (const shape of shapes) offsets.push(offsets.at(-1)! + sizeOf(shape));
  const flat = allocate(offsets.at(-1)!);
  const views: Record<string, NdArray<"float32">> = {};
  names.forEach((name, i) => {
    const data = flat.subarray(offsets[i], offsets[i + 1]);
    views[name] = { dtype: "float32", shape: [...shapes[i]!], data };
  });
  return { flat, views, names, offsets };
}

/**
 * Whether a parameter lies under a prefix. Prefixes are whole dotted parts: `blocks.1` holds
 * `blocks.1.attn.weight` but not `blocks.10.attn.weight`; the empty prefix holds everything.
 */
export function hasPrefix(name: string, prefix: string): boolean {
  if (prefix === "" || name === prefix) return true;
  return name.startsWith(prefix.endsWith(".") ? prefix : `${prefix}.`);
}

/**
 * The parameters under any of the prefixes, in their own order and sharing their data.
 * @throws AlignTokError `not-found` where a prefix holds no parameter.
 */
export function selectParameters(params: Parameters, prefixes: readonly string[]): Parameters {
  return splitParameters(params, prefixes).trainable;
}

/**
 * Divides parameters into those under any of the prefixes and the rest, which stay frozen.
 * @throws AlignTokError `not-found` where a prefix holds no parameter.
 */
export function splitParameters(
  params: Parameters,
  trainablePrefixes: readonly string[],
): { readonly trainable: Parameters; readonly frozen: Parameters } {
  checkPrefixes(Object.keys(params), trainablePrefixes);
  const trainable: Record<string, NdArray<"float32">> = {};
  const frozen: Record<string, NdArray<"float32">> = {};
  for (const [name, value] of Object.entries(params)) {
    const side = trainablePrefixes.some((prefix) => hasPrefix(name, prefix)) ? trainable : frozen;
    side[name] = value;
  }
  return { trainable, frozen };
}

/** A prefix that holds nothing is a typing error that would silently freeze or train the wrong part. */
export function checkPrefixes(names: readonly string[], prefixes: readonly string[]): void {
  for (const prefix of prefixes) {
    if (!names.some((name) => hasPrefix(name, prefix))) {
      throw new AlignTokError(
        "not-found",
        `prefix ${prefix}: expected at least one parameter under it, got none among ${listSome(names)}. prefixes are whole dotted parts of a name`,
      );
    }
  }
}
