import { AlignTokError } from "@aligntok/core";
import { listSupportedBackends } from "onnxruntime-node";

export type EngineName = "onnxruntime" | "reference";

export interface EngineReport {
  readonly name: EngineName | "tensorflow";
  readonly available: boolean;
  /** Version and devices where it is available, otherwise the reason and the remedy. */
  readonly detail: string;
}

/** What can run a compiled function on this machine, and why the others cannot. */
export async function engines(): Promise<readonly EngineReport[]> {
  const { env } = await import("onnxruntime-node");
  const devices = listSupportedBackends().map(({ name }) => name);
  const tfjs = (await import("@tensorflow/tfjs-core")).engine();
  const backends = Object.keys(tfjs.registryFactory).filter((name) => name !== "aligntok-trace");
  return [
    {
      name: "onnxruntime",
      available: true,
      detail: `${env.versions.node ?? "installed"}, devices: ${devices.join(", ")} (cpu is used)`,
    },
    {
      name: "reference",
      available: backends.length > 0,
      detail:
        backends.length > 0
          ? `plain tfjs on ${backends.join(", ")}`
          : "no tfjs backend is loaded. npm i @tensorflow/tfjs-backend-cpu and import it",
    },
    { name: "tensorflow", available: false, detail: "not built yet: planned as tfjs-node(-gpu)" },
  ];
}

/** @throws AlignTokError `unavailable` when the engine cannot run here. */
export async function requireEngine(name: string): Promise<EngineName> {
  const report = (await engines()).find((engine) => engine.name === name);
  if (!report) {
    throw new AlignTokError("bad-input", `engine: expected onnxruntime or reference, got ${name}`);
  }
  if (!report.available) {
    throw new AlignTokError("unavailable", `engine ${name}: ${report.detail}`);
  }
  return report.name as EngineName;
}
