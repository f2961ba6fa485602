/** Steps of the stages once their discriminator has started: losses, all gradients, updates, moving average. */
import {
  createFeaturePerceptual,
  createStageStep,
  decoderSizes,
  initDiscriminator,
  initTokenizer,
  type Stage,
  type StageConfig,
  type StageInputs,
  type TokenizerWeights,
  tokenizerShapes,
  trainableParts,
} from "@aligntok/aligntok";
import { createRandom, type NdArray, type Parameters } from "@aligntok/core";
import { loadEncoder, vitModels } from "@aligntok/encoders";
import { compile, specOf } from "@aligntok/jit";
import { sampleEncoderPath } from "@aligntok/samples";
import {
  createAdam,
  createEma,
  flattenParameters,
  splitParameters,
  zerosLike,
} from "@aligntok/train";
import * as quickstart from "../quickstart/config.ts";
import type { EngineOptions, Prepared } from "./case.ts";
import { betas, createJudge, createLpips, lr } from "./judges.ts";
import { timed } from "./stopwatch.ts";
import { createWeights, normals } from "./weights.ts";

interface Setting {
  readonly tokenizer: TokenizerWeights;
  readonly losses: Omit<StageConfig, "stage" | "tokenizer"> &
    Required<Pick<StageConfig, "perceptual" | "discriminator">>;
  /** `(N, 3, H, W)`. */
  readonly images: NdArray<"float32">;
  /** What the frozen networks gave, or their weights. */
  readonly given: {
    readonly [Name in "frozen" | "snapshot"]?: Parameters;
  } & { readonly [Name in "features" | "latents"]?: NdArray<"float32"> };
  /** Of the weights in stage `perceptual`. */
  readonly emaDecay: number;
}

/** A step as the quickstart takes it in stage `perceptual`; what frozen networks give has been computed once. */
export async function prepareQuickstartStage(
  stage: Stage,
  engine: EngineOptions,
): Promise<Prepared> {
  const { decoder, discriminator, emaDecay, imageSize, batchSize, stride } = quickstart;
  const { discriminatorWeight, perceptualWeight, semanticWeight } = quickstart;
  const encoder = await loadEncoder(sampleEncoderPath());
  const random = createRandom(0, "bench");
  const tokens = (width: number) => normals([batchSize, (imageSize / stride) ** 2, width]);
  return prepareStage(stage, engine, {
    tokenizer: initTokenizer({ encoder, decoder, random }, { imageSize }),
    losses: {
      perceptual: createFeaturePerceptual(encoder, { imageSize, stride }),
      ...{ discriminator, discriminatorWeight, perceptualWeight, semanticWeight },
    },
    images: normals([batchSize, 3, imageSize, imageSize], 0.5),
    given:
      stage === "latent"
        ? { features: tokens(encoder.config.width) }
        : { latents: tokens(decoder.latent) },
    emaDecay,
  });
}

/**
 * A step at the paper's size: DINOv2 ViT-L/14, the decoder of 42 million weights, LPIPS on VGG16, an image of 256 px. Crops
 * are random there, so that frozen networks run, too.
 */
export function preparePaperStage(stage: Stage, engine: EngineOptions): Promise<Prepared> {
  const encoder = { ...vitModels.dinov2_vitl14, imageSize: 224, classes: 0 };
  const config = { encoder, decoder: decoderSizes.f16d32 };
  const parameters = createWeights(tokenizerShapes(config));
  return prepareStage(stage, engine, {
    tokenizer: { config, parameters },
    losses: { perceptual: createLpips(), discriminator: {} },
    images: normals([1, 3, 256, 256], 0.5),
    given:
      stage === "perceptual"
        ? { snapshot: splitParameters(parameters, ["encoder", "adapter"]).trainable }
        : { frozen: splitParameters(parameters, trainableParts(stage, config.decoder)).frozen },
    emaDecay: 0.9999,
  });
}

async function prepareStage(
  stage: Stage,
  engine: EngineOptions,
  { tokenizer, losses, images, given, emaDecay }: Setting,
): Promise<Prepared> {
  const { config, parameters } = tokenizer;
  const { trainable } = splitParameters(parameters, trainableParts(stage, config.decoder));
  const weights = flattenParameters(trainable);
  const gradients = zerosLike(weights);
  const ema = stage === "perceptual" ? createEma(weights, { decay: emaDecay }) : undefined;
  const adam = createAdam(weights, { betas, ...(ema && { ema }) });
  const judge = createJudge(initDiscriminator(losses.discriminator, createRandom(0, "judge")));
  const inputs = {
    ...given,
    trainable: weights.views,
    discriminator: judge.inputs,
    perceptual: losses.perceptual.parameters,
    images,
  };
  const step = createStageStep({ ...losses, stage, tokenizer: tokenizer.config });
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
