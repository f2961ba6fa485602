/**
 * Writes docs/operations.md, the page of every operation that compiled functions may use: `npm run operations`.
 * With `--check` it only says whether the committed page is current.
 *
 * Each operation of the tables that the generated tests use is traced on samples and lowered for both engines, and
 * what came of it is listed.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Tensor } from "@tensorflow/tfjs-core";
import fc from "fast-check";
import type { Graph, Value } from "../packages/jit/src/index.ts";
import { spec } from "../packages/jit/src/index.ts";
import { createOnnxBuilder } from "../packages/jit/src/onnx/builder.ts";
import { lowerings } from "../packages/jit/src/onnx/lower.ts";
import { optimize } from "../packages/jit/src/passes/index.ts";
import { createTensorFlowBuilder } from "../packages/jit/src/tensorflow/builder.ts";
import { prepareForTensorFlow, writeNodes } from "../packages/jit/src/tensorflow/lower.ts";
import { replacements, rules } from "../packages/jit/src/trace/kernel.ts";
import { trace } from "../packages/jit/src/trace/trace.ts";
import { families } from "../packages/jit/test/operations/index.ts";
import type { Domain, Operation } from "../packages/jit/test/operations/operation.ts";
import { root } from "./workspace.ts";

const SAMPLES = 20;
const path = join(root, "docs", "operations.md");

/** What is known of the operations under one name, whatever the types of their inputs. */
interface Row {
  readonly kernels: Set<string>;
  readonly types: Set<string>;
  readonly recorded: Set<string>;
  readonly onnx: Set<string>;
  readonly tensorflow: Set<string>;
  gradient: boolean;
  readonly notes: Set<string>;
}

/** Operations that are not called, but appear in the gradients of others or come from the passes. */
const inner = new Set(["Fill", "Constant", "SumSquare", "BroadcastTo"]);

function tableOf(operations: readonly Operation[]): Map<string, Row> {
  const rows = new Map<string, Row>();
  for (const operation of operations) {
    const name = operation.name.replace(/ of (integers|truth values)$/, "");
    const row = rows.get(name) ?? {
      kernels: new Set(),
      types: new Set(),
      recorded: new Set(),
      onnx: new Set(),
      tensorflow: new Set(),
      gradient: false,
      notes: new Set(),
    };
    rows.set(name, row);
    describe(operation, row);
  }
  return rows;
}

function describe(operation: Operation, row: Row): void {
  for (const kernel of operation.kernels) row.kernels.add(kernel);
  if (operation.gradient !== false) row.gradient = true;
  if (operation.note) row.notes.add(operation.note);
  for (const { shapes, options } of fc.sample(operation.draw, { numRuns: SAMPLES, seed: 1 })) {
    const types = shapes.map((_, i) => domainOf(operation, i).dtype ?? "float32");
    if (types[0]) row.types.add(types[0]);
    const inputs = shapes.map((shape, i) => spec(shape, types[i]));
    const { graph } = trace((xs: Tensor[]) => [operation.call(xs, options)].flat(), inputs);
    for (const { op } of graph.nodes) row.recorded.add(op);
    for (const op of onnxOf(optimize(graph))) row.onnx.add(op);
    for (const op of tensorflowOf(graph)) row.tensorflow.add(op);
  }
}

function domainOf({ domain = {} }: Operation, input: number): Domain {
  return (Array.isArray(domain) ? domain[input] : domain) as Domain;
}

function onnxOf(graph: Graph): Set<string> {
  const ops = new Set<string>();
  const builder = createOnnxBuilder();
  const add: typeof builder.add = (op, ...rest) => {
    ops.add(op);
    return builder.add(op, ...rest);
  };
  const names = new Map<Value, string>(graph.inputs.map(({ name, value }) => [value, name]));
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((value) => (value ? names.get(value)! : ""));
    const made = lowerings[node.op]!(node, inputs, { ...builder, add });
    for (const [i, output] of node.outputs.entries()) names.set(output, [made].flat()[i]!);
  }
  return ops;
}

function tensorflowOf(given: Graph): Set<string> {
  const graph = prepareForTensorFlow(given);
  const ops = new Set<string>();
  const builder = createTensorFlowBuilder();
  const add: typeof builder.add = (op, ...rest) => {
    ops.add(op);
    return builder.add(op, ...rest);
  };
  const names = new Map<Value, string>(
    graph.inputs.map(({ value: { dtype, shape }, value }, i) => [
      value,
      builder.addNamed(`input_${i}`, "Placeholder", [], { shape: { shape } }, { dtype }),
    ]),
  );
  writeNodes(graph, names, { ...builder, add });
  return ops;
}

const code = (names: Iterable<string>) => [...names].map((name) => `\`${name}\``).join(", ");

function section(title: string, operations: readonly Operation[]): string {
  const lines = [...tableOf(operations)].map(([name, row]) => {
    // A kernel that is recorded as itself says nothing new.
    const recorded = [...row.recorded].filter((op) => !inner.has(op) && !row.kernels.has(op));
    const replaced = [...row.kernels].some((kernel) => replacements.has(kernel));
    const notes = [...row.notes];
    if (replaced && recorded.length > 0) notes.unshift(`recorded as ${code(recorded)}`);
    const cells = [
      code([name]),
      code(row.kernels),
      [...row.types].join(", "),
      row.gradient ? "yes" : "",
      code(row.onnx),
      code(row.tensorflow),
      notes.join("; "),
    ];
    return `| ${cells.join(" | ")} |`;
  });
  return [
    `## ${title}`,
    "",
    "| function | kernel | types | gradient | ONNX | TensorFlow | notes |",
    "|---|---|---|---|---|---|---|",
    ...lines,
  ].join("\n");
}

const tried = new Set(
  Object.values(families).flatMap((list) => list.flatMap(({ kernels }) => kernels)),
);
const missing = [...rules.keys(), ...replacements.keys()].filter(
  (kernel) => !tried.has(kernel) && !inner.has(kernel),
);
if (missing.length > 0) {
  throw new Error(`no sample in packages/jit/test/operations for ${missing.join(", ")}`);
}

const page = `# Operations of compiled functions

Made by \`npm run operations\`: each is traced on ${SAMPLES} samples and lowered, and what came of it is listed. The same
samples are what the generated tests of \`@aligntok/jit\` draw from, on every engine that is installed: values against
tfjs's CPU backend, gradients against it and against the slope of the function.

Types are those of the first input. No gradient means that the result is constant or made of whole numbers, or
that it is one itself. An empty cell under an engine: nothing is left to do when the graph has been optimised.

${Object.entries(families)
  .map(([title, operations]) => section(title, operations))
  .join("\n\n")}

## Not supported

Operations whose sizes depend on values (\`tf.unique\`, \`tf.booleanMaskAsync\`, \`tf.image.nonMaxSuppression\`), random
numbers within a function (\`tf.multinomial\`; \`tf.randomNormal\` and its like become constants), complex numbers and
Fourier transforms, strings, ragged and sparse tensors, three-dimensional convolution and pooling,
\`tf.localResponseNormalization\`, \`tf.dilation2d\`, \`tf.image.cropAndResize\`, \`transform\` and \`rotateWithOffset\`,
\`tf.searchSorted\`, \`tf.bitwiseAnd\`.
`;

if (!process.argv.includes("--check")) writeFileSync(path, page);
else if (readFileSync(path, "utf8") !== page) {
  console.error("docs/operations.md is not current. npm run operations");
  process.exitCode = 1;
}
