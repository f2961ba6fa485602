import type { NdArray } from "@aligntok/core";
import { AlignTokError } from "@aligntok/core";
import { Tensor } from "@tensorflow/tfjs-core";

/** A leaf, or nested arrays and records of leaves: JAX's pytree. */
export type Tree<Leaf> = Leaf | readonly Tree<Leaf>[] | { readonly [key: string]: Tree<Leaf> };

/** The shape and element type of an input of a compiled function. */
export interface TensorSpec {
  readonly shape: readonly number[];
  readonly dtype: "float32" | "int32" | "bool";
}

/** A tree with every leaf of type `From` replaced by `To`. */
export type MapTree<T, From, To> = T extends From
  ? To
  : T extends readonly (infer Item)[]
    ? readonly MapTree<Item, From, To>[]
    : { readonly [K in keyof T]: MapTree<T[K], From, To> };

export function isTensor(x: unknown): x is Tensor {
  return x instanceof Tensor;
}

/** NdArrays and TensorSpecs are both told from plain records by their shape and dtype. */
export function isArrayLeaf(x: unknown): x is NdArray | TensorSpec {
  return typeof x === "object" && x !== null && "shape" in x && "dtype" in x;
}

/** Calls `visit(leaf, path)` for every leaf in a fixed order: arrays by index, records by insertion. */
export function visitTree<Leaf>(
  tree: unknown,
  isLeaf: (x: unknown) => x is Leaf,
  visit: (leaf: Leaf, path: string) => void,
  path = "",
): void {
  mapTree(tree, isLeaf, visit, path);
}

/** The same tree with `map(leaf, path)` in place of every leaf; `undefined` members of records are left out. */
export function mapTree<Leaf, To>(
  tree: unknown,
  isLeaf: (x: unknown) => x is Leaf,
  map: (leaf: Leaf, path: string) => To,
  path = "",
): Tree<To> {
  if (isLeaf(tree)) return map(tree, path);
  if (Array.isArray(tree)) {
    return tree.map((item, i) => mapTree(item, isLeaf, map, joinPath(path, String(i))));
  }
  if (isRecord(tree)) {
    const mapped: Record<string, Tree<To>> = {};
    for (const [key, item] of Object.entries(tree)) {
      if (item !== undefined) mapped[key] = mapTree(item, isLeaf, map, joinPath(path, key));
    }
    return mapped;
  }
  throw new AlignTokError(
    "bad-input",
    `${path || "tree"}: expected an array or tensor, or records and lists of them, got ${describe(tree)}`,
  );
}

function isRecord(x: unknown): x is Readonly<Record<string, unknown>> {
  if (typeof x !== "object" || x === null) return false;
  const prototype = Object.getPrototypeOf(x);
  return prototype === Object.prototype || prototype === null;
}

function joinPath(path: string, key: string): string {
  return path ? `${path}/${key}` : key;
}

function describe(x: unknown): string {
  if (x === null || typeof x !== "object") return String(x);
  return x.constructor.name;
}

/** A spec for `compile`. */
export function spec(shape: readonly number[], dtype: TensorSpec["dtype"] = "float32"): TensorSpec {
  return { shape: [...shape], dtype };
}

/** The specs of a tree of arrays, as `compile` wants them: float32, int32 and bool arrays only. */
export function specOf<T>(tree: T): MapTree<T, NdArray, TensorSpec> {
  return mapTree(tree, isArrayLeaf, ({ shape, dtype }, path) => {
    if (dtype !== "float32" && dtype !== "int32" && dtype !== "bool") {
      throw new AlignTokError(
        "bad-input",
        `${path}: expected float32, int32 or bool, got ${dtype}. convert it first (toFloat32)`,
      );
    }
    return spec(shape, dtype);
  }) as MapTree<T, NdArray, TensorSpec>;
}
