import { AlignTokError } from "@aligntok/core";
import { engine } from "@tensorflow/tfjs-core";
import { TRACE_BACKEND } from "../trace/backend.ts";

/** What can run a compiled function: ONNX Runtime, or the function itself on a tfjs backend. */
export type EngineName = "onnxruntime" | "reference";

/** One line of `engines()`. */
export interface EngineReport {
  readonly name: EngineName | "tensorflow";
  /** Whether `compile` accepts it on this machine, now. */
  readonly available: boolean;
  /** Version and devices where it is available, otherwise the reason and the remedy. */
  readonly detail: string;
}

/** What can run a compiled function on this machine, and why the others cannot. */
export async function engines(): Promise<readonly EngineReport[]> {
  return [
    await reportOnnxRuntime(),
    reportReference(),
    { name: "tensorflow", available: false, detail: "not built yet: planned as tfjs-node(-gpu)" },
  ];
}

async function reportOnnxRuntime(): Promise<EngineReport> {
  const name = "onnxruntime";
  try {
    const { env, listSupportedBackends } = await import("onnxruntime-node");
    // Those that are not bundled need files of their own, which the list does not check.
    const devices = listSupportedBackends().filter(({ bundled }) => bundled);
    const names = devices.map((device) => device.name).join(", ");
    const detail = `${env.versions.node ?? "installed"}, devices: ${names} (cpu is used)`;
    return { name, available: true, detail };
  } catch (error) {
    // No binary for this platform, or one that its system libraries do not fit.
    const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
    return { name, available: false, detail: `${reason}. npm install onnxruntime-node` };
  }
}

function reportReference(): EngineReport {
  const backends = Object.keys(engine().registryFactory).filter((name) => name !== TRACE_BACKEND);
  const available = backends.length > 0;
  const detail = available
    ? `plain tfjs on ${backends.join(", ")}`
    : "no tfjs backend is loaded. npm install @tensorflow/tfjs-backend-cpu and import it";
  return { name: "reference", available, detail };
}

/**
 * @throws AlignTokError `bad-input` for an engine that does not exist, `unavailable` for one that cannot run here.
 */
export async function requireEngine(name: string): Promise<EngineName> {
  const reports = await engines();
  const report = reports.find((engine) => engine.name === name);
  if (!report) {
    const names = reports.map((engine) => engine.name).join(", ");
    throw new AlignTokError("bad-input", `engine: expected one of ${names}, got ${name}`);
  }
  if (!report.available) {
    throw new AlignTokError("unavailable", `engine ${name}: ${report.detail}`);
  }
  return report.name as EngineName;
}
