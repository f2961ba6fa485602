import type { AlignTokError, NdArray } from "@aligntok/core";
import type { Value } from "../graph/graph.ts";
import { writeTensorFlowProgram } from "../tensorflow/program.ts";
import { TAG, withSavedModel } from "../tensorflow/saved-model.ts";
import type { Program, Session, SessionOptions } from "./session.ts";
import { loadTensorFlow, type TensorFlowBinding } from "./tensorflow-binding.ts";
import { explainLoad, explainRun } from "./tensorflow-error.ts";

type Arrays = ReadonlyMap<string, NdArray>;

/** A graph in TensorFlow, with those of its inputs that are variables. Every call is one call of native code. */
export interface TensorFlowGraph {
  run(feeds: Arrays, into: Arrays): Arrays;
  /** Gives variables copies of these arrays as their values. */
  assign(values: Arrays): void;
  /** The values of these variables. */
  read(names: readonly string[]): Arrays;
  dispose(): void;
}

/** Loads a graph into TensorFlow as a SavedModel; bound inputs become variables, so that they are given to the device once. */
export async function createTensorFlowSession(
  program: Program,
  options: SessionOptions,
): Promise<Session> {
  const bound = new Map(
    program.graph.inputs.flatMap(({ name, array }) => (array ? [[name, array]] : [])),
  );
  const variables = new Map([...bound.keys()].map((name) => [name, undefined]));
  const loaded = await openTensorFlowGraph(program, variables, options);
  if (bound.size > 0) loaded.assign(bound);
  return {
    run: async (feeds, into) => loaded.run(feeds, into),
    dispose: () => loaded.dispose(),
  };
}

/**
 * @param variables the inputs that are variables, each with the output that replaces it at every run, or undefined
 * @throws AlignTokError `unavailable`, `unsupported`
 */
export async function openTensorFlowGraph(
  { graph, precision }: Pick<Program, "graph" | "precision">,
  variables: ReadonlyMap<string, string | undefined>,
  { threads }: SessionOptions,
): Promise<TensorFlowGraph> {
  const binding = await loadTensorFlow(threads);
  const program = writeTensorFlowProgram(graph, variables, { precision });
  const model = await withSavedModel(program.definition, (folder) =>
    explaining(() => binding.loadSavedModel(folder, TAG), explainLoad),
  );

  /** Feeds and fetches by the nodes of the graph; `use` gets each fetched tensor's own copy. */
  function call(feeds: readonly (readonly [string, NdArray])[], fetches: readonly string[]) {
    const tensors: number[] = [];
    try {
      for (const [, array] of feeds) tensors.push(toTensor(array, binding));
      const nodes = feeds.map(([node]) => node).join(",");
      const made = explaining(
        () => binding.runSavedModel(model, tensors, nodes, fetches.join(",")),
        explainRun,
      ).map(({ id }) => id);
      tensors.push(...made);
      return made.map((tensor) => binding.tensorDataSync(tensor));
    } finally {
      for (const tensor of tensors) binding.deleteTensor(tensor);
    }
  }

  const { inputs, outputs, variables: held } = program;
  const fetches = outputs.map(({ node }) => node);
  return {
    run(feeds, into) {
      const given = inputs.map(({ name, node }) => [node, feeds.get(name)!] as const);
      const results = call(given, fetches);
      return new Map(
        outputs.map(({ name, value }, i) => {
          const target = into.get(name);
          if (!target) return [name, arrayOf(value, results[i]!)];
          (target.data as Float32Array).set(results[i] as Float32Array);
          return [name, target];
        }),
      );
    },
    assign(values) {
      const given = held.filter(({ name }) => values.has(name));
      call(
        given.map(({ name, placeholder }) => [placeholder, values.get(name)!]),
        given.map(({ assigned }) => assigned),
      );
    },
    read(names) {
      const wanted = held.filter(({ name }) => names.includes(name));
      const results = call(
        [],
        wanted.map(({ read }) => read),
      );
      return new Map(wanted.map(({ name, value }, i) => [name, arrayOf(value, results[i]!)]));
    },
    dispose: () => binding.deleteSavedModel(model),
  };
}

const arrayOf = ({ dtype, shape }: Value, data: NdArray["data"]) =>
  ({ dtype, shape, data }) as NdArray;

function toTensor({ dtype, shape, data }: NdArray, binding: TensorFlowBinding): number {
  const types = { float32: binding.TF_FLOAT, int32: binding.TF_INT32, bool: binding.TF_BOOL };
  return binding.createTensor([...shape], types[dtype as Value["dtype"]], data as Float32Array);
}

function explaining<T>(call: () => T, explain: (error: unknown) => AlignTokError): T {
  try {
    return call();
  } catch (error) {
    throw explain(error);
  }
}
