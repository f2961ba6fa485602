import {
  type NamedTensorInfoMap,
  registerKernel,
  type Tensor,
  type TensorInfo,
  tidy,
} from "@tensorflow/tfjs-core";
import type { Attributes, Value } from "../graph/graph.ts";
import { TRACE_BACKEND, traceBackend } from "./backend.ts";

/** Shapes and types of a kernel's outputs from those of its inputs. */
export type Infer = (inputs: readonly Value[], attributes: Attributes) => Value | readonly Value[];

/** A kernel as a function of tensors, by the names of its inputs. */
export type Compose<Result = Tensor> = (
  inputs: Readonly<Record<string, Tensor | undefined>>,
  attributes: Attributes,
) => Result;

export interface KernelRule {
  /** Names of the inputs in order, or "list" where tfjs passes them by index. A trailing `?` marks an optional one. */
  readonly inputs: readonly string[] | "list";
  readonly infer: Infer;
  /** Attributes as recorded: defaults filled in, axes made positive. Kept as they are by default. */
  readonly attributes?: (attributes: Attributes, inputs: readonly Value[]) => Attributes;
  /** Other operations in place of this one, for attributes that graphs do not have; undefined where they have. */
  readonly instead?: Compose<Tensor | undefined>;
}

/** Every operation that a graph can hold, by kernel name. */
export const rules = new Map<string, KernelRule>();

/** Every kernel of tfjs that is recorded as others. */
export const replacements = new Map<string, Compose>();

/** Makes a kernel recordable. */
export function defineKernel(name: string, rule: KernelRule): void {
  rules.set(name, rule);
  register(name, ({ inputs, attrs }) => {
    const other = rule.instead && replace(inputs, attrs ?? {}, rule.instead);
    if (other) return other;
    const values = inputsOf(name, rule, inputs);
    const present = values.filter((value) => value !== undefined);
    const attributes = rule.attributes?.(attrs ?? {}, present) ?? attrs ?? {};
    const inferred = rule.infer(values as Value[], attributes);
    const outputs = traceBackend.record({
      op: name,
      inputs: values,
      attributes,
      outputs: Array.isArray(inferred) ? inferred : [inferred as Value],
    });
    const infos = outputs.map(infoOf);
    return Array.isArray(inferred) ? infos : infos[0]!;
  });
}

/** Makes a kernel recordable as the operations that `compose` calls: engines need no form of it. */
export function defineReplacement(name: string, compose: Compose): void {
  replacements.set(name, compose);
  register(name, ({ inputs, attrs }) => replace(inputs, attrs ?? {}, compose));
}

/** Makes a kernel that only renames a value: nothing is recorded. */
export function defineAlias(name: string, input: string): void {
  register(name, ({ inputs }) => renamed(asValue(name, inputs[input])));
}

type KernelFunction = Parameters<typeof registerKernel>[0]["kernelFunc"];

function register(kernelName: string, kernelFunc: KernelFunction): void {
  registerKernel({ kernelName, backendName: TRACE_BACKEND, kernelFunc });
}

function replace<Result extends Tensor | undefined>(
  inputs: NamedTensorInfoMap,
  attributes: Attributes,
  compose: Compose<Result>,
) {
  // tfjs hands the tensors themselves to its kernels, whatever the type says.
  const made = tidy(() => compose(inputs as never, attributes) as Tensor) as Result;
  // A tensor of its own: an input that is given back as it is has its own place on the gradient tape.
  return made && renamed(traceBackend.recordedValue(made.dataId, "composition"));
}

/** A tensor more on a value. */
function renamed(value: Value) {
  traceBackend.incRef(value);
  return infoOf(value);
}

function inputsOf(
  name: string,
  rule: KernelRule,
  inputs: NamedTensorInfoMap,
): (Value | undefined)[] {
  if (rule.inputs === "list") return Object.values(inputs).map((input) => asValue(name, input));
  return rule.inputs.map((key) => {
    const input = inputs[key.replace("?", "")];
    return key.endsWith("?") && input == null ? undefined : asValue(name, input);
  });
}

function asValue(name: string, input: unknown): Value {
  return traceBackend.recordedValue((input as TensorInfo | undefined)?.dataId, name);
}

function infoOf(value: Value) {
  return { dataId: value as object, shape: [...value.shape], dtype: value.dtype };
}
