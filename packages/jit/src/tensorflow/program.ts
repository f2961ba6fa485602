import type { Graph, Value } from "../graph/graph.ts";
import type { Message } from "../protobuf.ts";
import type { Precision } from "../run/precision.ts";
import { createTensorFlowBuilder } from "./builder.ts";
import { prepareForTensorFlow, writeNodes } from "./lower.ts";

/** An array of the program, and the node of the TensorFlow graph that it is fed to or fetched from. */
export interface Port {
  readonly name: string;
  readonly value: Value;
  readonly node: string;
}

/** A variable: it stays in the session, on its device. */
export interface Variable {
  readonly name: string;
  readonly value: Value;
  /** A run that feeds this and fetches `assigned` gives it its value. */
  readonly placeholder: string;
  readonly assigned: string;
  /** Fetched from it. */
  readonly read: string;
}

/** A graph written for TensorFlow. */
export interface TensorFlowProgram {
  readonly definition: Message;
  /** Inputs that a run is fed: those that the graph uses. */
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  readonly variables: readonly Variable[];
}

/**
 * @param variables the inputs of the graph that are variables, by name, each with the name of the output that is
 * its value from the next run on, or undefined where it stays
 */
export function writeTensorFlowProgram(
  given: Graph,
  variables: ReadonlyMap<string, string | undefined>,
  { precision }: { readonly precision: Precision },
): TensorFlowProgram {
  const graph = prepareForTensorFlow(given);
  const builder = createTensorFlowBuilder(precision);
  const names = new Map<Value, string>();
  const used = new Set<Value | undefined>(graph.outputs.map(({ value }) => value));
  for (const node of graph.nodes) for (const value of node.inputs) used.add(value);

  const placeholder = (name: string, { dtype, shape }: Value) =>
    builder.addNamed(
      name,
      "Placeholder",
      [],
      { dtype: { type: dtype }, shape: { shape } },
      { dtype },
    );
  const inputs: Port[] = [];
  const held: (Variable & { readonly handle: string; readonly current: string })[] = [];
  for (const [i, { name, value }] of graph.inputs.entries()) {
    const { dtype, shape } = value;
    if (!used.has(value) && variables.get(name) === undefined) continue;
    if (!variables.has(name)) {
      const node = placeholder(`input_${i}`, value);
      names.set(value, node);
      inputs.push({ name, value, node });
      continue;
    }
    const type = { dtype: { type: dtype } } as const;
    const handle = builder.addNamed(
      `variable_${i}`,
      "VarHandleOp",
      [],
      { ...type, shape: { shape }, shared_name: `variable_${i}` },
      { dtype: "resource" },
    );
    const current = builder.add("ReadVariableOp", [handle], type, { dtype, typed: false });
    names.set(value, current);
    const fed = placeholder(`set_${i}`, value);
    // A copy: the memory fed is the caller's, and may only be freed by the thread that it came from.
    const copy = builder.add("DeepCopy", [fed]);
    const assignment = builder.add("AssignVariableOp", [handle, copy], type, { typed: false });
    const assigned = builder.add("Identity", [builder.scalar(1)], {}, { after: [assignment] });
    const read = builder.addNamed(`read_${i}`, "Identity", [current]);
    held.push({ name, value, placeholder: fed, assigned, read, handle, current });
  }

  writeNodes(graph, names, builder);
  const made = new Map(graph.outputs.map(({ name, value }) => [name, names.get(value)!]));
  const updates: string[] = [];
  const next = new Set<string>();
  // All values are read before the first one is replaced: an update may be another variable as it was.
  const reads = held.map(({ current }) => current);
  for (const { name, value, handle } of held) {
    const output = variables.get(name);
    if (output === undefined) continue;
    next.add(output);
    const type = { dtype: { type: value.dtype } } as const;
    updates.push(
      builder.add("AssignVariableOp", [handle, made.get(output)!], type, {
        typed: false,
        after: reads,
      }),
    );
  }
  const outputs = graph.outputs.flatMap(({ name, value }, i) =>
    next.has(name)
      ? []
      : {
          name,
          value,
          node: builder.addNamed(
            `output_${i}`,
            "Identity",
            [made.get(name)!],
            {},
            {
              after: updates,
            },
          ),
        },
  );
  return { definition: builder.finish(), inputs, outputs, variables: held };
}
