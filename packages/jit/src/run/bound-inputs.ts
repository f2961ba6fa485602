/** Inputs that are known when a function is compiled and never change: weights at inference. */
import { AlignTokError, check, type NdArray, toFloat32 } from "@aligntok/core";
import { isArrayLeaf, mapTree, spec, type TensorSpec, type Tree } from "../tree.ts";

export type BoundInputs = Readonly<Record<string, Tree<NdArray>>>;

/** Nothing is bound. */
export type NoInputs = Record<never, never>;

/** float32 copies of arrays in other real types: one, however many functions the array is bound to. */
const converted = new WeakMap<NdArray, NdArray<"float32">>();

/**
 * One tree of all inputs: arrays that are bound, specs of the others.
 *
 * @throws AlignTokError `bad-input` for a key that is in both, or for bound inputs beside a spec that is no record.
 */
export function joinInputs(
  inputSpec: unknown,
  bound: BoundInputs | undefined,
): Tree<TensorSpec | NdArray> {
  // Arrays may stand for their specs; what they hold is not meant then.
  const free = mapTree(inputSpec, isArrayLeaf, ({ shape, dtype }) =>
    spec(shape, dtype as TensorSpec["dtype"]),
  );
  if (!bound) return free;
  check(
    !isArrayLeaf(inputSpec) && !Array.isArray(inputSpec),
    "bind: expected the spec of the other inputs to be a record, got a list or a single spec. name the inputs",
  );
  for (const key of Object.keys(bound)) {
    check(
      !(key in (free as object)),
      `bind ${key}: expected inputs that the spec leaves out, got one of its keys. give ${key} in one place only`,
    );
  }
  return { ...(free as object), ...mapTree(bound, isArrayLeaf, asBound) };
}

function asBound(leaf: NdArray | TensorSpec, path: string): NdArray {
  if (!("data" in leaf)) {
    throw new AlignTokError(
      "bad-input",
      `bind ${path}: expected an array, got a spec. bound inputs are given when compiling`,
    );
  }
  const { dtype } = leaf;
  if (dtype === "float32" || dtype === "int32" || dtype === "bool") return leaf;
  const floats = converted.get(leaf) ?? toFloat32(leaf);
  converted.set(leaf, floats);
  return floats;
}
