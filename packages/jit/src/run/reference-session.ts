import type { NdArray } from "@aligntok/core";
import { type Tensor, tensor, tidy } from "@tensorflow/tfjs-core";
import { isArrayLeaf, isTensor, mapTree, visitTree } from "../tree.ts";
import type { Program, Session } from "./session.ts";

/** Calls the function itself on the active tfjs backend: slow on the CPU backend, and what engines are compared with. */
export async function createReferenceSession({ fn, inputs: given }: Program): Promise<Session> {
  return {
    async run(feeds, into) {
      const results = new Map<string, NdArray>();
      tidy(() => {
        const inputs = mapTree(given, isArrayLeaf, (leaf, path) => {
          const { data, shape, dtype } = "data" in leaf ? leaf : feeds.get(path || "input")!;
          return tensor(data as Float32Array, [...shape], dtype as "float32");
        });
        visitTree(fn(inputs as never), isTensor, (output, path) => {
          results.set(`out:${path}`, read(output, into.get(`out:${path}`)));
        });
      });
      return results;
    },
    dispose() {},
  };
}

function read(output: Tensor, target: NdArray | undefined): NdArray {
  const data = output.dataSync().slice(); // the backend's own memory, which an input may share
  if (!target) return { dtype: output.dtype, shape: [...output.shape], data } as NdArray;
  (target.data as Float32Array).set(data as Float32Array);
  return target;
}
