/**
 * A small problem with everything that a resumed run must continue: linear regression with noise
 * from streams named by the step, AdamW with a fused average, a cosine schedule, a log.
 * Run as a program (`regression.ts FOLDER STEPS`), it is what the kill test kills.
 */
import { pathToFileURL } from "node:url";
import { createRandom, ndarray } from "@aligntok/core";
import {
  assignParameters,
  computeClipScale,
  computeGradientNorm,
  createAdamW,
  createCosineSchedule,
  createEma,
  createRunLog,
  flattenParameters,
  runTraining,
  type TrainingOptions,
  zerosLike,
} from "../src/index.ts";

const width = 64;
const batch = 8;

/** Options of a run, and its parameters to look at afterwards. */
export function createRegression(folder: string, steps: number) {
  const normals = (...name: (string | number)[]) => createRandom(1, ...name).normals(width);
  const truth = normals("truth");
  const parameters = flattenParameters({
    weight: ndarray(normals("init"), [1, width]),
    bias: ndarray(new Float32Array(1), [1]),
  });
  const gradients = zerosLike(parameters);
  const ema = createEma(parameters, { decay: 0.99 });
  const optimizer = createAdamW(parameters, { ema, groups: [{ prefix: "bias", weightDecay: 0 }] });
  const schedule = createCosineSchedule(0.1, { steps });

  function step(index: number) {
    const { weight, bias } = parameters.views;
    gradients.flat.fill(0);
    let loss = 0;
    for (let row = 0; row < batch; row++) {
      const x = normals("input", index, row);
      let error = bias!.data[0]! - createRandom(1, "noise", index, row).normal();
      for (let i = 0; i < width; i++) error += x[i]! * (weight!.data[i]! - truth[i]!);
      for (let i = 0; i < width; i++) {
        gradients.views.weight!.data[i]! += (2 / batch) * error * x[i]!;
      }
      gradients.views.bias!.data[0]! += (2 / batch) * error;
      loss += error ** 2 / batch;
    }
    const scale = computeClipScale(computeGradientNorm(gradients.flat), 10);
    optimizer.update(gradients.flat, { lr: schedule(index), scale });
    return { loss };
  }

  const options = {
    folder,
    steps,
    step,
    save: () => ({
      tensors: {
        model: parameters.views,
        ema: ema.parameters.views,
        optimizer: optimizer.state(),
      },
      state: { seed: 1 },
    }),
    restore({ tensors }) {
      assignParameters(parameters, tensors.model!);
      assignParameters(ema.parameters, tensors.ema!);
      optimizer.restore(tensors.optimizer!);
    },
    logEvery: 10,
    checkpointEvery: 7,
  } satisfies TrainingOptions;
  return { options, parameters, ema };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [folder = "", steps] = process.argv.slice(2);
  const { options } = createRegression(folder, Number(steps));
  await runTraining({
    ...options,
    log: createRunLog(folder),
    onProgress: ({ done }) => process.stdout.write(`${done}\n`),
  });
}
