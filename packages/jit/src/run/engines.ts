import { AlignTokError } from "@aligntok/core";
import { engine } from "@tensorflow/tfjs-core";
import { TRACE_BACKEND } from "../trace/backend.ts";
import { type DeviceReport, devices } from "./devices.ts";
import { findTensorFlow, probeTensorFlow } from "./tensorflow-binding.ts";

/** What can run a compiled function: ONNX Runtime, TensorFlow, or the function itself on a tfjs backend. */
export type EngineName = "onnxruntime" | "tensorflow" | "reference";

/** One line of `engines()`. */
export interface EngineReport {
  readonly name: EngineName;
  /** Whether `compile` accepts it on this machine, now. */
  readonly available: boolean;
  /** Version and devices where it is available, otherwise the reason and the remedy. */
  readonly detail: string;
  /** Of ONNX Runtime: what `device` may be, tried out. */
  readonly devices?: readonly DeviceReport[];
}

/** What each engine says of itself; what it throws is why it cannot run. */
const details: Readonly<Record<EngineName, () => string | Promise<string>>> = {
  async onnxruntime() {
    const { env } = await loadOnnxRuntime();
    return env.versions.node ?? "installed";
  },
  async tensorflow() {
    const found = findTensorFlow();
    const { version, gpu } = await probeTensorFlow(found);
    return `${version} through ${found.name}, device: ${gpu ? "gpu" : "cpu"}`;
  },
  reference() {
    const backends = Object.keys(engine().registryFactory).filter((name) => name !== TRACE_BACKEND);
    if (backends.length > 0) return `plain tfjs on ${backends.join(", ")}`;
    throw new Error(
      "no tfjs backend is loaded. npm install @tensorflow/tfjs-backend-cpu and import it",
    );
  },
};

async function loadOnnxRuntime() {
  try {
    return await import("onnxruntime-node");
  } catch (error) {
    // No binary for this platform, or one that its system libraries do not fit.
    throw new Error(`${firstLine(error)}. npm install onnxruntime-node`);
  }
}

/** What can run a compiled function on this machine, and why the others cannot. */
export async function engines(): Promise<readonly EngineReport[]> {
  const reports = await Promise.all((Object.keys(details) as EngineName[]).map(report));
  return Promise.all(
    reports.map(async (engine) =>
      engine.name === "onnxruntime" && engine.available
        ? { ...engine, devices: await devices() }
        : engine,
    ),
  );
}

async function report(name: EngineName): Promise<EngineReport> {
  try {
    return { name, available: true, detail: await details[name]() };
  } catch (error) {
    return { name, available: false, detail: firstLine(error) };
  }
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0]!;
}

/**
 * @throws AlignTokError `bad-input` for an engine that does not exist, `unavailable` for one that cannot run here.
 */
export async function requireEngine(name: string): Promise<EngineName> {
  if (!Object.hasOwn(details, name)) {
    const names = Object.keys(details).join(", ");
    throw new AlignTokError("bad-input", `engine: expected one of ${names}, got ${name}`);
  }
  const { available, detail } = await report(name as EngineName);
  if (!available) throw new AlignTokError("unavailable", `engine ${name}: ${detail}`);
  return name as EngineName;
}
