import { createRandom, type NdArray, ndarray, sizeOf } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import { type Graph, spec } from "../src/index.ts";
import { createOnnxSession } from "../src/run/onnx-session.ts";
import { trace } from "../src/trace/trace.ts";

/** The graph of a function of float32 tensors of these shapes, before any pass. */
export function record(fn: (...inputs: Tensor[]) => unknown, shapes: number[][]): Graph {
  const inputSpecs = shapes.map((shape) => spec(shape));
  return trace((inputs: Tensor[]) => fn(...inputs), inputSpecs).graph;
}

/** What a graph does, in order, without its constants. */
export function operations({ nodes }: Graph): string[] {
  return nodes.map(({ op }) => op).filter((op) => op !== "Fill" && op !== "Constant");
}

/** The outputs of a graph on ONNX Runtime, for inputs that depend on nothing but the graph's. */
export async function execute(graph: Graph): Promise<number[][]> {
  const random = createRandom(0, "graphs");
  const feeds = new Map<string, NdArray>();
  for (const { name, value } of graph.inputs) {
    feeds.set(name, ndarray(random.normals(sizeOf(value.shape)), value.shape));
  }
  const session = await createOnnxSession({ graph }, { threads: 1 });
  const outputs = await session.run(feeds, new Map());
  session.dispose();
  return [...outputs.values()].map(({ data }) => Array.from(data as Float32Array));
}
