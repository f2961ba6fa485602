/** An image between its two judges. */
import {
  applyDiscriminator,
  generatorLoss,
  hingeLoss,
  initDiscriminator,
  isRunningStatistic,
} from "@aligntok/aligntok";
import { createRandom } from "@aligntok/core";
import { compile, specOf, stopGradient, valueAndGrad } from "@aligntok/jit";
import { add, mul, scalar, type Tensor } from "@tensorflow/tfjs-core";
import type { EngineOptions, Prepared } from "./case.ts";
import { createJudge, createLpips } from "./judges.ts";
import { timed } from "./stopwatch.ts";
import { normals } from "./weights.ts";

interface JudgedTensors {
  readonly judge: Readonly<Record<string, Tensor>>;
  readonly lpips: Readonly<Record<string, Tensor>>;
  readonly image: Tensor;
  readonly truth: Tensor;
}

/** LPIPS (VGG16) to the truth and the generator's loss of PatchGAN, differentiated by the image; PatchGAN's own step. */
export async function prepareJudgedImages(engine: EngineOptions): Promise<Prepared> {
  const config = { channels: 64, layers: 3 };
  const judge = createJudge(initDiscriminator(config, createRandom(0, "bench")));
  const perceptual = createLpips();
  const images = () => normals([2, 3, 256, 256], 0.5);
  const inputs = {
    judge: judge.inputs,
    lpips: perceptual.parameters,
    image: images(),
    truth: images(),
  };
  const training = { training: true } as const;
  const step = ({ judge, lpips, image, truth }: JudgedTensors) => {
    const pull = valueAndGrad((x: Tensor) => {
      const { logits } = applyDiscriminator(config, judge, x, training);
      return add(perceptual.distance(lpips, x, truth), mul(generatorLoss(logits), scalar(0.5)));
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
