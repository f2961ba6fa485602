import { AlignTokError, type NdArray } from "@aligntok/core";
import type { Graph, Value } from "../graph/graph.ts";
import { writeTensorFlowProgram } from "../tensorflow/program.ts";
import { TAG, withSavedModel } from "../tensorflow/saved-model.ts";
import type { Program, Session, SessionOptions } from "./session.ts";
import { loadTensorFlow, type TensorFlowBinding } from "./tensorflow-binding.ts";

type Arrays = ReadonlyMap<string, NdArray>;

/** A graph in TensorFlow, with those of its inputs that are variables. Every call is one call of native code. */
export interface TensorFlowGraph {
  run(feeds: Arrays, into: Arrays): Arrays;
  /** Gives every variable its value: copies of these arrays. */
  assign(values: Arrays): void;
  /** The values of all variables. */
  read(): Arrays;
  dispose(): void;
}

/** Loads a graph into TensorFlow as a SavedModel; bound inputs become variables, so that they are given to the device once. */
export async function createTensorFlowSession(
  { graph }: Program,
  options: SessionOptions,
): Promise<Session> {
  const bound = new Map(graph.inputs.flatMap(({ name, array }) => (array ? [[name, array]] : [])));
  const variables = new Map([...bound.keys()].map((name) => [name, undefined]));
  const loaded = await openTensorFlowGraph(graph, variables, options);
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
  graph: Graph,
  variables: ReadonlyMap<string, string | undefined>,
  { threads }: SessionOptions,
): Promise<TensorFlowGraph> {
  const binding = await loadTensorFlow(threads);
  const program = writeTensorFlowProgram(graph, variables);
  const model = await withSavedModel(program.definition, (folder) =>
    refusing(() => binding.loadSavedModel(folder, TAG)),
  );

  /** Feeds and fetches by the nodes of the graph; `use` gets each fetched tensor's own copy. */
  function call(feeds: readonly (readonly [string, NdArray])[], fetches: readonly string[]) {
    const tensors: number[] = [];
    try {
      for (const [, array] of feeds) tensors.push(toTensor(array, binding));
      const nodes = feeds.map(([node]) => node).join(",");
      const made = refusing(() =>
        binding.runSavedModel(model, tensors, nodes, fetches.join(",")),
      ).map(({ id }) => id);
      tensors.push(...made);
      return made.map((tensor) => binding.tensorDataSync(tensor));
    } finally {
      for (const tensor of tensors) binding.deleteTensor(tensor);
    }
  }

  const { inputs, outputs, assigned } = program;
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
      const feeds = program.variables.map(
        ({ name, placeholder }) => [placeholder, values.get(name)!] as const,
      );
      call(feeds, [assigned]);
    },
    read() {
      const results = call(
        [],
        program.variables.map(({ read }) => read),
      );
      return new Map(
        program.variables.map(({ name, value }, i) => [name, arrayOf(value, results[i]!)]),
      );
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

/** What TensorFlow refuses, in one line. */
function refusing<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
    throw new AlignTokError("unsupported", `tensorflow refused the graph: ${reason}`, {
      cause: error,
    });
  }
}
