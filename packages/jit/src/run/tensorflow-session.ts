import { AlignTokError, type NdArray } from "@aligntok/core";
import type { Value } from "../graph/graph.ts";
import { createTensorFlowBuilder } from "../tensorflow/builder.ts";
import { prepareForTensorFlow, writeNodes } from "../tensorflow/lower.ts";
import { TAG, withSavedModel } from "../tensorflow/saved-model.ts";
import type { Program, Session, SessionOptions } from "./session.ts";
import { loadTensorFlow, type TensorFlowBinding } from "./tensorflow-binding.ts";

/** Loads a graph into TensorFlow as a SavedModel; a run is one call of native code. */
export async function createTensorFlowSession(
  { graph: given }: Program,
  { threads }: SessionOptions,
): Promise<Session> {
  const binding = await loadTensorFlow(threads);
  const graph = prepareForTensorFlow(given);
  const builder = createTensorFlowBuilder();
  const names = new Map<Value, string>();
  const used = new Set<Value | undefined>(graph.outputs.map(({ value }) => value));
  for (const { inputs } of graph.nodes) for (const value of inputs) used.add(value);
  const inputs = graph.inputs
    .filter(({ value }) => used.has(value))
    .map(({ name, value: { shape, dtype }, value }, i) => {
      const attributes = { dtype: { type: dtype }, shape: { shape } };
      const node = builder.addNamed(`input_${i}`, "Placeholder", [], attributes, { dtype });
      names.set(value, node);
      return { name, node };
    });
  writeNodes(graph, names, builder);
  const outputs = graph.outputs.map(({ name, value }, i) => {
    const node = builder.addNamed(`output_${i}`, "Identity", [names.get(value)!]);
    return { name, value, node };
  });
  const model = await withSavedModel(builder.finish(), (folder) =>
    refusing(() => binding.loadSavedModel(folder, TAG)),
  );
  const inputNames = inputs.map(({ node }) => node).join(",");
  const outputNames = outputs.map(({ node }) => node).join(",");

  return {
    async run(feeds, into) {
      const tensors: number[] = [];
      try {
        for (const { name } of inputs) tensors.push(toTensor(feeds.get(name)!, binding));
        const made = refusing(() =>
          binding.runSavedModel(model, tensors, inputNames, outputNames),
        ).map(({ id }) => id);
        tensors.push(...made);
        return new Map(
          outputs.map(({ name, value: { shape, dtype } }, i) => {
            const data = binding.tensorDataSync(made[i]!);
            const target = into.get(name);
            if (!target) return [name, { dtype, shape, data } as NdArray];
            (target.data as Float32Array).set(data as Float32Array);
            return [name, target];
          }),
        );
      } finally {
        for (const tensor of tensors) binding.deleteTensor(tensor);
      }
    },
    dispose: () => binding.deleteSavedModel(model),
  };
}

function toTensor({ dtype, shape, data }: NdArray, binding: TensorFlowBinding): number {
  const type = { float32: binding.TF_FLOAT, int32: binding.TF_INT32, bool: binding.TF_BOOL }[
    dtype as Value["dtype"]
  ];
  return binding.createTensor([...shape], type, data as Float32Array);
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
