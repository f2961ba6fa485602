/**
 * A whole training in the small: three stages with discriminator, moving average and sampled crops, on sixteen pixels.
 * Run as a program (`three-stages.ts FOLDER`), it is what is killed; it prints a line a step.
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { writeSafetensors } from "@aligntok/checkpoint";
import { createRandom, type Images, type Random, zeros } from "@aligntok/core";
import { initViT } from "@aligntok/encoders";
import {
  initTokenizer,
  saveTokenizer,
  stages,
  type TrainedStage,
  trainStage,
} from "../src/index.ts";
import { decoder, discriminator, encoder } from "./golden.ts";

function draw(random: Random): Images {
  const images = zeros([2, 16, 16, 3], "uint8");
  for (let i = 0; i < images.data.length; i++) images.data[i] = random.integer(256);
  return images;
}

/** Trains all stages in `folder`, from wherever an earlier process was, and saves the tokenizer and its judge there. */
export async function trainThreeStages(folder: string, onStep: () => void): Promise<void> {
  let trained: TrainedStage = initTokenizer(
    {
      encoder: { config: encoder, parameters: initViT(encoder, createRandom(1, "vit")) },
      decoder,
      random: createRandom(2, "tokenizer"),
    },
    { imageSize: 16 },
  );
  for (const stage of stages) {
    trained = await trainStage(trained, {
      stage,
      folder: join(folder, stage),
      steps: 24,
      batch: (_, random) => ({ images: draw(random) }),
      lr: 1e-3,
      discriminator,
      discriminatorStart: stage === "latent" ? 12 : 0,
      emaDecay: 0.9,
      checkpointEvery: 3,
      threads: 1,
      onProgress: onStep,
    });
  }
  await saveTokenizer(folder, trained);
  await writeSafetensors(join(folder, "discriminator.safetensors"), trained.discriminator!);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  await trainThreeStages(process.argv[2] ?? "", () => process.stdout.write("step\n"));
}
