import { AlignTokError, check } from "@aligntok/core";
import type { Graph } from "../graph/graph.ts";
import { removeDeadCode } from "../passes/dead-code.ts";
import { quantize } from "../passes/quantize.ts";
import type { CompileOptions } from "./compile.ts";
import type { EngineName } from "./engines.ts";

/** What an engine computes with; see `CompileOptions`. */
export type Precision = "float32" | "int8" | "bfloat16";

const engineFor = { int8: "onnxruntime", bfloat16: "tensorflow" } as const;

/**
 * The graph as a precision wants it; bfloat16 is TensorFlow's own to write.
 *
 * @throws AlignTokError `unsupported` for int8 on another engine than ONNX Runtime and bfloat16 on another than
 * TensorFlow; `bad-input` for a precision that does not exist, and for int8 where no linear layer has bound weights.
 */
export function withPrecision(
  graph: Graph,
  engine: EngineName,
  { precision = "float32", device = "cpu" }: CompileOptions,
): Graph {
  if (precision === "float32") return graph;
  check(
    Object.hasOwn(engineFor, precision),
    () => `precision: expected float32, int8 or bfloat16, got ${precision}`,
  );
  if (engine !== engineFor[precision]) {
    throw new AlignTokError(
      "unsupported",
      `precision ${precision}: expected engine ${engineFor[precision]}, got ${engine}. leave precision out: this engine computes in float32`,
    );
  }
  if (precision === "bfloat16") return graph;
  if (device !== "cpu") {
    throw new AlignTokError(
      "unsupported",
      `precision int8: expected device cpu, got ${device}. leave precision out: it computes in float32`,
    );
  }
  const quantized = removeDeadCode(quantize(graph));
  check(
    quantized.nodes.some(({ op }) => op === "QuantizedLinear"),
    "precision int8: expected linear layers whose weights are bound, got none. give the weights as bind when compiling",
  );
  return quantized;
}
