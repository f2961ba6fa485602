/** The trees that `run` is given, checked against the graph and taken apart into named arrays. */
import { AlignTokError, listSome, type NdArray, sizeOf } from "@aligntok/core";
import type { Graph, Value } from "../graph/graph.ts";
import { isArrayLeaf, visitTree } from "../tree.ts";

type Arrays = ReadonlyMap<string, NdArray>;

/** @throws AlignTokError `bad-input` for an input that is missing, superfluous, or not of the compiled shape and type. */
export function matchInputs(graph: Graph, inputs: unknown): Arrays {
  const feeds = flatten(inputs, (path) => path || "input");
  const free = graph.inputs.filter(({ array }) => !array);
  for (const { name, value } of free) {
    const difference = differenceOf(feeds.get(name), value);
    if (!difference) continue;
    const next = feeds.has(name)
      ? "compile again for other shapes"
      : `given: ${listSome([...feeds.keys()]) || "no arrays"}`;
    throw new AlignTokError("bad-input", `input ${name}: ${difference}. ${next}`);
  }
  if (feeds.size !== free.length) {
    const known = new Set(free.map(({ name }) => name));
    const extra = [...feeds.keys()].find((name) => !known.has(name));
    throw new AlignTokError(
      "bad-input",
      `input ${extra}: the function was compiled without it. leave it out; inputs are ${listSome([...known])}`,
    );
  }
  return feeds;
}

/** @throws AlignTokError `bad-input` for an array that is no output, or not of the output's shape and type. */
export function matchTargets(graph: Graph, into: unknown): Arrays {
  if (into === undefined) return new Map();
  const targets = flatten(into, (path) => `out:${path}`);
  const outputs = new Map(graph.outputs.map(({ name, value }) => [name, value]));
  for (const [name, array] of targets) {
    const value = outputs.get(name);
    const difference = value
      ? differenceOf(array, value)
      : `expected no such output, got ${describe(array)}`;
    if (!difference) continue;
    const names = [...outputs.keys()].map((output) => output.slice(4) || "the output itself");
    const next = value ? "" : `. outputs are ${listSome(names)}`;
    throw new AlignTokError("bad-input", `into ${name.slice(4)}: ${difference}${next}`);
  }
  return targets;
}

function flatten(tree: unknown, nameOf: (path: string) => string): Map<string, NdArray> {
  const arrays = new Map<string, NdArray>();
  visitTree(tree, isArrayLeaf, (array, path) => arrays.set(nameOf(path), array as NdArray));
  return arrays;
}

function differenceOf(array: NdArray | undefined, value: Value): string | undefined {
  const expected = `expected ${value.dtype} [${value.shape}]`;
  if (!array) return `${expected}, got nothing`;
  if (array.dtype !== value.dtype || array.shape.join() !== value.shape.join()) {
    return `${expected}, got ${describe(array)}`;
  }
  const length = array.data?.length; // a spec has no data
  if (length !== sizeOf(value.shape)) return `${expected}, got data of ${length} elements`;
  return undefined;
}

function describe({ dtype, shape }: NdArray): string {
  return `${dtype} [${shape}]`;
}
