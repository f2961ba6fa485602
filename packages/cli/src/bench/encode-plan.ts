/** What the contestants of a case that encodes files are to do: a file, for those of the peers are other programs. */
import { readFile } from "node:fs/promises";
import { check } from "@aligntok/core";

export interface EncodePlan {
  /** Folder with `config.json`, `model.safetensors`, and `onnx/model.onnx` where a peer needs it. */
  readonly folder: string;
  readonly photographs: readonly string[];
  /** Images that go through the network at once. */
  readonly batchSize: number;
  /** Images of a run. */
  readonly count: number;
  /** File of uint8 pixels (2, 224, 224, 3): a contestant writes their features, as float32, beside it before it is ready. */
  readonly pixels: string;
}

const variable = "ALIGNTOK_BENCH_PLAN";

/** The environment of a contestant. */
export function withPlan(env: NodeJS.ProcessEnv, plan: string | undefined): NodeJS.ProcessEnv {
  return plan === undefined ? env : { ...env, [variable]: plan };
}

/** The plan that this process was started with, or that of a file. */
export async function readPlan(path = process.env[variable]): Promise<EncodePlan> {
  check(path, () => `${variable}: expected the path of a plan, got none. run aligntok bench`);
  return JSON.parse(await readFile(path, "utf8")) as EncodePlan;
}
