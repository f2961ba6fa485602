import { type NamedTensorInfoMap, registerKernel, type TensorInfo } from "@tensorflow/tfjs-core";
import type { Attributes, Value } from "../graph/graph.ts";
import { TRACE_BACKEND, traceBackend } from "./backend.ts";

/** Shapes and types of a kernel's outputs from those of its inputs. */
export type Infer = (inputs: readonly Value[], attributes: Attributes) => Value | readonly Value[];

export interface KernelRule {
  /** Names of the inputs in order, or "list" where tfjs passes them by index. A trailing `?` marks an optional one. */
  readonly inputs: readonly string[] | "list";
  readonly infer: Infer;
  /** Attributes as recorded: defaults filled in, axes made positive. Kept as they are by default. */
  readonly attributes?: (attributes: Attributes, inputs: readonly Value[]) => Attributes;
}

/** Every operation that a trace can hold, by kernel name. */
export const rules = new Map<string, KernelRule>();

/** Makes a kernel recordable. */
export function defineKernel(name: string, rule: KernelRule): void {
  rules.set(name, rule);
  registerKernel({
    kernelName: name,
    backendName: TRACE_BACKEND,
    kernelFunc: ({ inputs, attrs }) => {
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
    },
  });
}

/** Makes a kernel that only renames a value: nothing is recorded. */
export function defineAlias(name: string, input: string): void {
  registerKernel({
    kernelName: name,
    backendName: TRACE_BACKEND,
    kernelFunc: ({ inputs }) => {
      const value = asValue(name, inputs[input]);
      traceBackend.incRef(value);
      return infoOf(value);
    },
  });
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
