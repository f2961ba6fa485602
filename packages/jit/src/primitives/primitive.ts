import {
  engine,
  type GradConfig,
  getKernel,
  type NamedTensorMap,
  registerGradient,
  registerKernel,
  type Tensor,
} from "@tensorflow/tfjs-core";
import type { Attributes } from "../graph/graph.ts";
import { TRACE_BACKEND } from "../trace/backend.ts";
import { defineKernel, type KernelRule } from "../trace/kernel.ts";

type NamedInputs = Readonly<Record<string, Tensor | undefined>>;

/**
 * An operation of ours that stands beside tfjs's own: recorded whole, so that an engine can run it in
 * one pass, and with a gradient written by hand.
 */
export interface Primitive extends KernelRule {
  readonly inputs: readonly string[];
  /** The same in plain tfjs operations: what every other tfjs backend runs, and what tests compare with. */
  readonly reference: (inputs: NamedInputs, attributes: Attributes) => Tensor | Tensor[];
  readonly gradient?: Omit<GradConfig, "kernelName">;
}

/** Every primitive by name: an engine that has no operation for one runs its reference. */
export const primitives = new Map<string, Primitive>();

/** Registers a primitive and returns the function that calls it. */
export function definePrimitive(
  name: string,
  primitive: Primitive,
): (inputs: NamedInputs, attributes: Attributes) => Tensor[] {
  defineKernel(name, primitive);
  primitives.set(name, primitive);
  if (primitive.gradient) registerGradient({ kernelName: name, ...primitive.gradient });
  return (inputs, attributes) => {
    const tf = engine();
    const backend = tf.backendName ?? (tf.backend && tf.backendName); // the getter chooses one
    if (backend !== TRACE_BACKEND && !getKernel(name, backend)) {
      registerKernel({
        kernelName: name,
        backendName: backend,
        // A kernel runs with the gradient tape off, so the operations inside are not differentiated twice.
        kernelFunc: ({ inputs: given, attrs }) =>
          primitive.reference(given as NamedInputs, attrs ?? {}) as never,
      });
    }
    const present = Object.fromEntries(Object.entries(inputs).filter(([, tensor]) => tensor));
    const made = tf.runKernel(name, present as NamedTensorMap, attributes as never) as
      | Tensor
      | Tensor[];
    return Array.isArray(made) ? made : [made];
  };
}
