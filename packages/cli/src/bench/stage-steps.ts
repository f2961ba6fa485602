/** Steps with several networks: the second stage, and an image between its two judges. */
import {
  applyDiscriminator,
  createFeaturePerceptual,
  createStageStep,
  generatorLoss,
  hingeLoss,
  initDiscriminator,
  initTokenizer,
  isRunningStatistic,
  type StageInputs,
  trainableParts,
} from "@aligntok/aligntok";
import { createRandom, type Parameters } from "@aligntok/core";
import { loadEncoder } from "@aligntok/encoders";
import { compile, specOf, stopGradient, valueAndGrad } from "@aligntok/jit";
import { applyLpips, lpipsKeys } from "@aligntok/lpips";
import { sampleEncoderPath } from "@aligntok/samples";
import {
  createAdam,
  createEma,
  flattenParameters,
  splitParameters,
  zerosLike,
} from "@aligntok/train";
import { add, mean, mul, scalar, type Tensor } from "@tensorflow/tfjs-core";
import {
  batchSize,
  decoder,
  discriminator,
  discriminatorWeight,
  emaDecay,
  imageSize,
  perceptualWeight,
  semanticWeight,
  stride,
} from "../quickstart/config.ts";
import type { EngineOptions, Prepared } from "./case.ts";
import { timed } from "./stopwatch.ts";
import { createWeights, normals } from "./weights.ts";

const betas = [0.5, 0.9] as const;
const lr = 1e-5;
const random = createRandom(0, "bench");

/** A step of stage `perceptual` once its discriminator has started: losses, all gradients, both updates, moving average. */
export async function prepareStageTwo(engine: EngineOptions): Promise<Prepared> {
  const encoder = await loadEncoder(sampleEncoderPath());
  const tokenizer = initTokenizer({ encoder, decoder, random }, { imageSize });
  const perceptual = createFeaturePerceptual(encoder, { imageSize, stride });
  const { trainable } = splitParameters(tokenizer.parameters, trainableParts.perceptual);
  const weights = flattenParameters(trainable);
  const gradients = zerosLike(weights);
  const adam = createAdam(weights, { betas, ema: createEma(weights, { decay: emaDecay }) });
  const judge = createJudge(initDiscriminator(discriminator, random));
  const inputs = {
    trainable: weights.views,
    discriminator: judge.inputs,
    perceptual: perceptual.parameters,
    images: normals([batchSize, 3, imageSize, imageSize], 0.5),
    latents: normals([batchSize, (imageSize / stride) ** 2, decoder.latent]),
  };
  const step = createStageStep({
    stage: "perceptual",
    tokenizer: tokenizer.config,
    perceptual,
    perceptualWeight,
    semanticWeight,
    discriminator,
    discriminatorWeight,
  });
  const { value: graph, ms: compileMs } = await timed(() =>
    compile((given) => step(given as StageInputs), specOf(inputs), engine),
  );
  return {
    parameters: weights.flat.length + judge.count,
    compileMs,
    async run() {
      const { discriminatorStatistics } = await graph.run(inputs, {
        into: { gradients: gradients.views, discriminatorGradients: judge.gradients },
      });
      adam.update(gradients.flat, { lr });
      judge.update(discriminatorStatistics!);
    },
  };
}

interface JudgedTensors {
  readonly judge: Readonly<Record<string, Tensor>>;
  readonly lpips: Readonly<Record<string, Tensor>>;
  readonly image: Tensor;
  readonly truth: Tensor;
}

/** LPIPS (VGG16) to the truth and the generator's loss of PatchGAN, differentiated by the image; PatchGAN's own step. */
export async function prepareJudgedImages(engine: EngineOptions): Promise<Prepared> {
  const config = { channels: 64, layers: 3 };
  const judge = createJudge(initDiscriminator(config, random));
  const images = () => normals([2, 3, 256, 256], 0.5);
  const inputs = {
    judge: judge.inputs,
    lpips: createWeights(vggShapes()),
    image: images(),
    truth: images(),
  };
  const training = { training: true } as const;
  const step = ({ judge, lpips, image, truth }: JudgedTensors) => {
    const pull = valueAndGrad((x: Tensor) => {
      const { logits } = applyDiscriminator(config, judge, x, training);
      const distance = mean(applyLpips({ network: "vgg" }, lpips, x, truth));
      return add(distance, mul(generatorLoss(logits), scalar(0.5)));
    }, image);
    const weights = Object.fromEntries(
      Object.entries(judge).filter(([name]) => !isRunningStatistic(name)),
    );
    const judgement = valueAndGrad((trained: typeof weights) => {
      const real = applyDiscriminator(config, { ...judge, ...trained }, truth, training);
      const before = { ...real.statistics, ...trained };
      const fake = applyDiscriminator(config, before, stopGradient(image), training);
      return { loss: hingeLoss(real.logits, fake.logits), aux: fake.statistics };
    }, weights);
    return {
      losses: [pull.value, judgement.value],
      image: pull.gradients,
      judge: judgement.gradients,
      statistics: judgement.aux,
    };
  };
  const { value: graph, ms: compileMs } = await timed(() => compile(step, specOf(inputs), engine));
  return {
    parameters: judge.count,
    compileMs,
    async run() {
      const { statistics } = await graph.run(inputs, { into: { judge: judge.gradients } });
      judge.update(statistics);
    },
  };
}

/** A discriminator with its optimizer; `update` takes the running statistics that the graph has moved. */
function createJudge(params: Parameters) {
  const part = (statistics: boolean) =>
    Object.fromEntries(
      Object.entries(params).filter(([name]) => isRunningStatistic(name) === statistics),
    );
  const weights = flattenParameters(part(false));
  const statistics = part(true);
  const gradients = zerosLike(weights);
  const adam = createAdam(weights, { betas });
  return {
    count: weights.flat.length,
    inputs: { ...weights.views, ...statistics } as Parameters,
    gradients: gradients.views,
    update(moved: Parameters): void {
      adam.update(gradients.flat, { lr });
      for (const [name, { data }] of Object.entries(statistics)) data.set(moved[name]!.data);
    },
  };
}

/** VGG16's convolutions up to the last tap, 3x3, and the heads of LPIPS. */
function vggShapes(): Record<string, readonly number[]> {
  const widths = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512];
  const heads = [64, 128, 256, 512, 512];
  const shapes: Record<string, readonly number[]> = {};
  let [layer, input] = [0, 3];
  for (const name of lpipsKeys({ network: "vgg" })) {
    if (name.startsWith("lin")) shapes[name] = [1, heads[Number(name[3])]!, 1, 1];
    else if (name.endsWith(".bias")) {
      shapes[name] = [input];
    } else {
      const output = widths[layer++]!;
      shapes[name] = [output, input, 3, 3];
      input = output;
    }
  }
  return shapes;
}
