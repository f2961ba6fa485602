/**
 * Photographs on disk to features, decoding included, as a user has them: a folder of weights is loaded, a stream of
 * JPEG files comes out as tokens.
 */
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ndarray } from "@aligntok/core";
import { loadEncoder, type VisionEncoder } from "@aligntok/encoders";
import { readSamplePhotographs } from "@aligntok/samples";
import type { BenchCase, EngineOptions, Prepared } from "./case.ts";
import { isBuilt, runColdStart } from "./cold-start.ts";
import { type EncodePlan, readPlan } from "./encode-plan.ts";
import { writeEncoderFolder } from "./encoder-folder.ts";
import { countElements } from "./weights.ts";

type Model = "dinov2_vits14" | "dinov2_vitl14";

interface EncodeCase {
  readonly model: Model;
  readonly batchSize: number;
  readonly count: number;
}

const titles = { dinov2_vits14: "DINOv2 ViT-S/14", dinov2_vitl14: "DINOv2 ViT-L/14" } as const;

export const encodeCases: readonly BenchCase[] = [
  encodeCase("vits14-encode-single", { model: "dinov2_vits14", batchSize: 1, count: 16 }),
  encodeCase("vits14-encode-batch", { model: "dinov2_vits14", batchSize: 16, count: 32 }),
  encodeCase("vitl14-encode-single", { model: "dinov2_vitl14", batchSize: 1, count: 4 }),
  encodeCase("vitl14-encode-batch", { model: "dinov2_vitl14", batchSize: 16, count: 16 }),
  encodeCase("vits14-encode-int8", { model: "dinov2_vits14", batchSize: 16, count: 32 }, "int8"),
  encodeCase("vitl14-encode-int8", { model: "dinov2_vitl14", batchSize: 16, count: 16 }, "int8"),
  {
    name: "vitl14-cold-start",
    what: "a process starts, loads DINOv2 ViT-L/14 (1.2 GB) and gives the features of a photograph",
    family: "encoders",
    bar: 2,
    engines: ["onnxruntime"],
    writePlan: (folder) =>
      writePlan(folder, "vitl14-cold-start", { model: "dinov2_vitl14", batchSize: 1, count: 1 }),
    reasonToSkip: () =>
      isBuilt() ? undefined : "it starts the built packages, which are not here. run npm run build",
    async prepare({ threads }) {
      const { folder, photographs } = await readPlan();
      let rssMb = 0;
      return {
        parameters: 0,
        rssMb: () => rssMb,
        run: async () => {
          rssMb = Math.max(rssMb, await runColdStart(folder, photographs[0]!, threads));
        },
      };
    },
  },
];

function encodeCase(
  name: string,
  part: EncodeCase,
  precision: "float32" | "int8" = "float32",
): BenchCase {
  const { model, batchSize, count } = part;
  const isInt8 = precision === "int8";
  return {
    name,
    what: `${titles[model]}${isInt8 ? " in int8" : ""}, ${count} photographs of 307 x 173 px, ${batchSize} at a time: from JPEG files to features`,
    family: "encoders",
    // features of int8 differ, so nothing races it that could be checked
    ...(isInt8 ? { engines: ["onnxruntime"], alone: true } : { bar: 1.4, transformersJsBar: 1.1 }),
    writePlan: (folder) => writePlan(folder, name, part),
    prepare: (engine) => prepareEncode({ ...engine, precision }),
  };
}

/** Writes the plan of a case, and what it needs where another case has not written it; gives its path. */
async function writePlan(
  folder: string,
  name: string,
  { model, batchSize, count }: EncodeCase,
): Promise<string> {
  const encoder = join(folder, model);
  if (!existsSync(encoder)) await writeEncoderFolder(encoder, model);
  const pixels = join(folder, "pixels");
  await writeFile(
    pixels,
    Uint8Array.from({ length: 2 * 224 * 224 * 3 }, (_, i) => (i * 7919) % 251),
  );
  const { photographs } = await readSamplePhotographs();
  const plan: EncodePlan = {
    folder: encoder,
    photographs: photographs.map(({ path }) => path),
    batchSize,
    count,
    pixels,
  };
  await mkdir(folder, { recursive: true });
  const path = join(folder, `${name}.json`);
  await writeFile(path, JSON.stringify(plan));
  return path;
}

async function prepareEncode(
  engine: EngineOptions & { readonly precision: "float32" | "int8" },
): Promise<Prepared> {
  const { folder, photographs, batchSize, count, pixels } = await readPlan();
  const encoder = await loadEncoder(folder, { ...engine, batchSize });
  const features = `${pixels}-ours`;
  await writeFile(features, await featuresOfPixels(encoder, pixels));
  // One stream for all runs, whose threads have started: what a run of thousands costs.
  const stream = encoder.featuresOf(endless(photographs));
  return {
    parameters: countElements(encoder.parameters),
    features,
    async run() {
      for (let done = 0; done < count; done += batchSize) await stream.next();
    },
  };
}

async function featuresOfPixels(encoder: VisionEncoder, path: string): Promise<Uint8Array> {
  const pixels = new Uint8Array(await readFile(path));
  const { data } = await encoder.features(ndarray(pixels, [2, 224, 224, 3], "uint8"));
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function* endless<T>(items: readonly T[]): Generator<T> {
  for (;;) yield* items;
}
