import { AlignTokError, check } from "@aligntok/core";
import { optimize } from "../passes/index.ts";
import { refuseNesting, trace } from "../trace/trace.ts";
import type { Tree } from "../tree.ts";
import { joinInputs } from "./bound-inputs.ts";
import type { CompileOptions } from "./compile.ts";
import { type EngineName, requireEngine } from "./engines.ts";
import { withPrecision } from "./precision.ts";
import type { Program } from "./session.ts";

/** A program that an engine can be given, and its outputs as a tree of the names they have in the graph. */
export interface Prepared extends Program {
  readonly engine: EngineName;
  readonly outputNames: Tree<string>;
}

/** Options that the other engines do not heed, and why they need not. */
const onlyOnnxRuntime = {
  worker: "this engine runs on the calling thread",
  device: "tensorflow uses the GPU where tfjs-node-gpu is installed",
  cache: "this engine keeps no optimised graphs",
} as const;

/**
 * Traces and optimises a function for the engine that the options name.
 *
 * @throws AlignTokError as `compile`
 */
export async function prepare(
  fn: unknown,
  inputSpec: unknown,
  options: CompileOptions,
): Promise<Prepared> {
  refuseNesting();
  const { worker, device, cache, precision = "float32" } = options;
  const { threads = 1 } = options;
  check(
    Number.isInteger(threads) && threads >= 1,
    () => `threads: expected a whole number of at least 1, got ${threads}`,
  );
  const engine = await requireEngine(options.engine ?? "onnxruntime");
  const own = { worker: worker || undefined, device, cache };
  for (const [name, reason] of Object.entries(onlyOnnxRuntime)) {
    if (engine === "onnxruntime" || own[name as keyof typeof own] === undefined) continue;
    throw new AlignTokError(
      "unsupported",
      `${name}: expected engine onnxruntime, got ${engine}. leave ${name} out: ${reason}`,
    );
  }
  const source = { fn: fn as Program["fn"], inputs: joinInputs(inputSpec, options.bind) };
  const { graph: traced, outputNames } = trace(source.fn, source.inputs);
  const graph = withPrecision(optimize(traced), engine, options);
  return { ...source, graph, precision, engine, outputNames };
}
