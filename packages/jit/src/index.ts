import "./compositions/index.ts";
import "./gradients/index.ts";

export { stopGradient, valueAndGrad } from "./gradients/value-and-grad.ts";
export { type Attributes, type Graph, type Node, printGraph, type Value } from "./graph/graph.ts";
export * from "./primitives/index.ts";
export {
  type Compiled,
  type CompileOptions,
  compile,
  type EngineOptions,
  type RunOptions,
} from "./run/compile.ts";
export type { DeviceName, DeviceReport } from "./run/devices.ts";
export { type EngineName, type EngineReport, engines } from "./run/engines.ts";
export { estimateMemory, type MemoryEstimate } from "./run/estimate-memory.ts";
export { findNonFinite, type NonFinite } from "./run/find-non-finite.ts";
export { type JitOptions, type Jitted, jit } from "./run/jit.ts";
export type { Precision } from "./run/precision.ts";
export { compileStateful, type Stateful } from "./run/stateful.ts";
export { checkpoint } from "./trace/checkpoint.ts";
export { type MapTree, spec, specOf, type TensorSpec, type Tree } from "./tree.ts";
