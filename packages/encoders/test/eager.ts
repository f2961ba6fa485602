/** Models on the CPU backend of tfjs: alone, without the engine. */
import type { Parameters } from "@aligntok/core";
import { constantTensor } from "@aligntok/nn";
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-backend-cpu";
import { beforeAll } from "vitest";

/** To be called once in a test file. */
export function useEagerBackend(): void {
  beforeAll(async () => {
    tf.enableProdMode(); // no notice about faster backends
    await tf.setBackend("cpu");
  });
}

export function toTensors(parameters: Parameters): Record<string, tf.Tensor> {
  return Object.fromEntries(
    Object.entries(parameters).map(([name, array]) => [name, constantTensor(array)]),
  );
}
