/**
 * Linear-probe accuracy of mean-pooled patch tokens on the five flowers: a classifier is fitted on 600
 * photographs and measured on 200 that the distillation never saw.
 *
 *   node --import tsx --conditions=@aligntok/source tools/distill/evaluate.ts --data ../shared/data [--encoder FOLDER]
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createRandom, type Images, type NdArray, rows, zeros } from "@aligntok/core";
import { createEncoder, loadEncoder, type VisionEncoder } from "@aligntok/encoders";
import { computeAccuracy, fitLinearProbe, meanPool } from "@aligntok/eval-fid";
import { sampleEncoderPath } from "@aligntok/samples";
import { heldOutFlowers, readFlowers, side } from "./views.ts";

const { values: flags } = parseArgs({
  options: { data: { type: "string" }, encoder: { type: "string" } },
});
if (!flags.data) throw new Error("usage: evaluate.ts --data FOLDER");

const student = await loadEncoder(flags.encoder ?? sampleEncoderPath());
const teacher = await loadEncoder(join(flags.data, "vit-tiny-patch16-224"));
const untrained = createEncoder(student.config, createRandom(0, "untrained"));

async function pooled(encoder: VisionEncoder, images: Images): Promise<NdArray<"float32">> {
  const features = zeros([images.shape[0]!, encoder.width]);
  for (let start = 0; start < images.shape[0]!; start += 8) {
    const tokens = await encoder.features(
      rows(images, start, Math.min(images.shape[0]!, start + 8)),
    );
    features.data.set(
      meanPool(tokens, { start: encoder.prefixTokens }).data,
      start * encoder.width,
    );
  }
  return features;
}

async function probe(encoder: VisionEncoder, size: number): Promise<string> {
  const { images, labels } = await readFlowers(flags.data as string, size);
  const features = await pooled(encoder, images);
  const fitted = fitLinearProbe(
    rows(features, 0, heldOutFlowers),
    labels.subarray(0, heldOutFlowers),
    { classes: 5, l2: 1e-2 },
  );
  const held = rows(features, heldOutFlowers, labels.length);
  return `${(100 * computeAccuracy(fitted.predict(held), labels.subarray(heldOutFlowers))).toFixed(1)} %`;
}

console.log("linear probe, 200 held-out flowers of 5 classes");
console.log(`student, ${side} px      ${await probe(student, side)}`);
console.log(`teacher, ${side} px      ${await probe(teacher, side)}`);
console.log(`teacher, ${2 * side} px      ${await probe(teacher, 2 * side)}`);
console.log(`untrained, ${side} px    ${await probe(untrained, side)}`);
