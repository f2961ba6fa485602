import { check, type NdArray } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import { refuseNesting } from "../trace/trace.ts";
import { isArrayLeaf, type MapTree, specOf, visitTree } from "../tree.ts";
import type { BoundInputs, NoInputs } from "./bound-inputs.ts";
import { type Compiled, type CompileOptions, compile, type RunOptions } from "./compile.ts";

export interface JitOptions<Bound extends BoundInputs = NoInputs> extends CompileOptions<Bound> {
  /** Sets of shapes for which a compiled graph is held; the least recently used one makes room. @default 8 */
  readonly maxShapes?: number;
}

/** A function on arrays, compiled when it is first called with arrays of new shapes or types. */
export interface Jitted<In, Out> {
  /** As `run` of a compiled function; the errors of `compile` are thrown here, too. */
  (inputs: MapTree<In, Tensor, NdArray>, options?: RunOptions): Promise<Outputs<Out>>;
  /** Releases all compiled graphs, once the calls under way have ended. A later call compiles again. */
  dispose(): void;
}

/** Inputs of a function, without those that are bound. */
type Free<In, Bound> = keyof Bound extends never ? In : Omit<In, keyof Bound>;

type Outputs<Out> = MapTree<Out, Tensor, NdArray<"float32">>;

type Graph = Promise<Compiled<unknown, unknown>>;

/**
 * Compiles a function for whatever arrays it is called with, once for each set of names, shapes and types: `jax.jit`.
 *
 * ```ts
 * const similarity = jit(({ a, b }: { a: Tensor; b: Tensor }) => tf.matMul(a, b, false, true));
 * await similarity({ a, b }); // compiles
 * await similarity({ a, b }); // runs
 * similarity.dispose();
 * ```
 *
 * @param fn as for `compile`; inputs may be optional: a call without one is a graph of its own
 */
export function jit<In, Out, Bound extends BoundInputs = NoInputs>(
  fn: (inputs: In) => Out,
  { maxShapes = 8, ...options }: JitOptions<Bound> = {},
): Jitted<Free<In, Bound>, Out> {
  check(
    Number.isInteger(maxShapes) && maxShapes >= 1,
    () => `maxShapes: expected a whole number of at least 1, got ${maxShapes}`,
  );
  const held = new Map<string, Graph>(); // least recently used first

  function hold(key: string, inputs: unknown): Graph {
    const graph = held.get(key) ?? compileFor(key, inputs);
    held.delete(key);
    held.set(key, graph);
    makeRoom(maxShapes);
    return graph;
  }

  function compileFor(key: string, inputs: unknown): Graph {
    const graph = compile(fn as (inputs: unknown) => unknown, specOf(inputs), options) as Graph;
    graph.catch(() => held.get(key) === graph && held.delete(key)); // the next call tries again
    return graph;
  }

  /** A graph that calls are on their way through finishes them first. */
  function makeRoom(most: number): void {
    for (const [key, graph] of held) {
      if (held.size <= most) return;
      held.delete(key);
      graph.then((compiled) => compiled.dispose()).catch(() => {}); // its error went to the caller
    }
  }

  async function call(inputs: unknown, run?: RunOptions): Promise<unknown> {
    run?.signal?.throwIfAborted();
    const graph = await hold(describe(inputs), inputs);
    return graph.run(inputs, run);
  }

  function callOutside(inputs: unknown, run?: RunOptions): Promise<unknown> {
    refuseNesting(); // thrown, not rejected: nobody awaits in a traced function
    return call(inputs, run);
  }

  return Object.assign(callOutside as Jitted<Free<In, Bound>, Out>, { dispose: () => makeRoom(0) });
}

/** Names, types and shapes in an order that does not depend on that of the keys. */
function describe(inputs: unknown): string {
  const parts: string[] = [];
  visitTree(inputs, isArrayLeaf, ({ dtype, shape }, path) => {
    parts.push(`${path} ${dtype} ${shape}`);
  });
  return parts.sort().join("\n");
}
