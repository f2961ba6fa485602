/**
 * Memory and time of a step of a stage at the paper's size: DINOv2-L, the f16d32 decoder, PatchGAN and LPIPS on VGG16,
 * random weights. One line of JSON; one process a measurement, since memory is that of the whole process. `weightsMib`
 * are the arrays that stay, `activationsMib` the values that are alive at once in the graph, and `processorSeconds` the
 * time of all threads, which other work on the machine changes less than `stepSeconds`.
 *
 *     node --import tsx --conditions=@aligntok/source tools/stage-memory.ts \
 *       [--stage perceptual] [--recompute] [--batch 1] [--size 256] [--steps 3] [--threads 2]
 */
import { parseArgs } from "node:util";
import {
  createStageStep,
  decoderSizes,
  initDiscriminator,
  isRunningStatistic,
  type Stage,
  type StageInputs,
  type TokenizerConfig,
  tokenizerShapes,
  trainableParts,
} from "@aligntok/aligntok";
import { byteLength, createRandom, type NdArray, type Parameters, sizeOf } from "@aligntok/core";
import { vitModels } from "@aligntok/encoders";
import { compile, estimateMemory, specOf } from "@aligntok/jit";
import {
  createAdamW,
  createEma,
  flattenParameters,
  splitParameters,
  zerosLike,
} from "@aligntok/train";
import { createLpips } from "../packages/cli/src/bench/judges.ts";

const { values } = parseArgs({
  options: {
    stage: { type: "string", default: "perceptual" },
    recompute: { type: "boolean", default: false },
    batch: { type: "string", default: "1" },
    size: { type: "string", default: "256" },
    steps: { type: "string", default: "3" },
    threads: { type: "string", default: "2" },
  },
});
const [batch, size, steps, threads] = [values.batch, values.size, values.steps, values.threads].map(
  Number,
) as [number, number, number, number];
const stage = values.stage as Stage;

const decoder = decoderSizes.f16d32;
const encoder = { ...vitModels.dinov2_vitl14, imageSize: (size / 16) * 14, classes: 0 };
const config: TokenizerConfig = { encoder, decoder };

let state = 1;
/** Small numbers of no meaning, quickly. */
function fill(shape: readonly number[], scale: number): NdArray<"float32"> {
  const data = new Float32Array(sizeOf(shape));
  for (let i = 0; i < data.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    data[i] = (state / 2 ** 31) * scale;
  }
  return { dtype: "float32", shape: [...shape], data };
}
const weights = (shapes: Readonly<Record<string, readonly number[]>>): Parameters =>
  Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [
      name,
      fill(shape, shape.length > 1 ? 1 / Math.sqrt(sizeOf(shape.slice(1))) : 0.1),
    ]),
  );

const mib = (bytes: number) => Math.round(bytes / 2 ** 20);
const parameters = weights(tokenizerShapes(config));
const { trainable, frozen } = splitParameters(parameters, trainableParts(stage, decoder));
const snapshot = splitParameters(parameters, ["encoder", "adapter"]).trainable;
const flat = flattenParameters(trainable);
const gradients = zerosLike(flat);
const ema = stage === "perceptual" ? createEma(flat) : undefined;
const adam = createAdamW(flat, { betas: [0.5, 0.9], weightDecay: 0, ...(ema && { ema }) });
const discriminator = {};
const judge = initDiscriminator(discriminator, createRandom(0, "judge"));
const judged = Object.fromEntries(
  Object.entries(judge).filter(([name]) => !isRunningStatistic(name)),
);
const judgeWeights = flattenParameters(judged);
const judgeGradients = zerosLike(judgeWeights);
const judgeAdam = createAdamW(judgeWeights, { betas: [0.5, 0.9], weightDecay: 0 });
const perceptual = createLpips();
const step = createStageStep({
  stage,
  tokenizer: config,
  perceptual,
  discriminator,
  recompute: values.recompute,
});
const inputs = {
  trainable: flat.views,
  ...(stage === "perceptual" ? { snapshot } : { frozen }),
  discriminator: { ...judge, ...judgeWeights.views },
  perceptual: perceptual.parameters,
  images: fill([batch, 3, size, size], 1),
};
const apply = (given: unknown) => step(given as StageInputs);
const { intermediate } = estimateMemory(apply, specOf(inputs));
const copies = stage === "perceptual" ? 5 : 4; // gradients, two moments and the average beside the weights
const still = stage === "perceptual" ? snapshot : frozen;
const weightBytes =
  4 * (copies * flat.flat.length + 4 * judgeWeights.flat.length) +
  [still, perceptual.parameters]
    .flatMap((arrays) => Object.values(arrays))
    .reduce((sum, array) => sum + byteLength(array), 0);
const started = performance.now();
const graph = await compile(apply, specOf(inputs), { threads });
const compiled = performance.now();
const times: number[] = [];
const processorTimes: number[] = [];
for (let i = 0; i < steps; i++) {
  const start = performance.now();
  const used = process.cpuUsage();
  const { losses } = await graph.run(inputs, {
    into: { gradients: gradients.views, discriminatorGradients: judgeGradients.views },
  });
  adam.update(gradients.flat, { lr: 1e-4 });
  judgeAdam.update(judgeGradients.flat, { lr: 1e-4 });
  times.push(performance.now() - start);
  const { user, system } = process.cpuUsage(used);
  processorTimes.push(user + system);
  const total = losses.total.data[0]!;
  if (!Number.isFinite(total)) throw new Error(`step ${i}: loss ${total}`);
}
graph.dispose();
const best = (of: readonly number[]) => Math.min(...of.slice(steps > 1 ? 1 : 0));
const seconds = best(times) / 1000;
console.log(
  JSON.stringify({
    stage,
    recompute: values.recompute,
    batch,
    size,
    trainedMillions: Math.round(flat.flat.length / 1e5) / 10,
    weightsMib: mib(weightBytes),
    activationsMib: mib(intermediate),
    peakMib: Math.round(process.resourceUsage().maxRSS / 1024),
    compileSeconds: Math.round((compiled - started) / 100) / 10,
    stepSeconds: Math.round(seconds * 100) / 100,
    processorSeconds: Math.round(best(processorTimes) / 1e4) / 100,
    imagesPerSecond: Math.round((batch / seconds) * 1000) / 1000,
  }),
);
