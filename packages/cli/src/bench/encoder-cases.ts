/** Networks that give features, and a training step of one. */
import { applyViT, type ViTModel, vitModels, vitShapes } from "@aligntok/encoders";
import { applyInception, foldInception, inceptionShapes } from "@aligntok/eval-fid";
import type { Tensor } from "@tensorflow/tfjs-core";
import type { BenchCase } from "./case.ts";
import { type Model, prepareAdamWStep, prepareForward } from "./model-run.ts";
import { createWeights, normals } from "./weights.ts";

type Tensors = Readonly<Record<string, Tensor>>;

export const encoderCases: readonly BenchCase[] = [
  {
    name: "vits14-forward",
    what: "DINOv2 ViT-S/14, 8 images of 224 px: features",
    family: "encoders",
    bar: 1.5,
    gflop: 97.98,
    prepare: (engine) => prepareForward(vit("dinov2_vits14", 8), engine),
  },
  {
    name: "vits14-forward-int8",
    what: "DINOv2 ViT-S/14 in int8, 8 images of 224 px: features; the peer in bfloat16",
    family: "encoders",
    engines: ["onnxruntime"],
    bar: 1,
    gflop: 97.98,
    prepare: (engine) => prepareForward(vit("dinov2_vits14", 8), { ...engine, precision: "int8" }),
  },
  {
    name: "vitl14-forward",
    what: "DINOv2 ViT-L/14, 2 images of 224 px: features",
    family: "encoders",
    gflop: 324.05,
    prepare: (engine) => prepareForward(vit("dinov2_vitl14", 2), engine),
  },
  {
    name: "inception-features",
    what: "Inception v3 as FID has it, 8 images of 299 px: features",
    family: "encoders",
    gflop: 91.38,
    prepare(engine) {
      const model = {
        params: foldInception(createWeights(inceptionShapes())),
        inputs: { images: normals([8, 3, 299, 299], 0.5) },
        apply: (params: Tensors, { images }: Tensors) => applyInception(params, images!),
      };
      return prepareForward(model, engine);
    },
  },
  {
    name: "vits14-train",
    what: "DINOv2 ViT-S/14, 8 images of 224 px: step with AdamW",
    family: "train",
    bar: 1.6,
    gflop: 297.88,
    prepare: (engine) => prepareAdamWStep(vit("dinov2_vits14", 8), engine),
  },
];

/** The model for images of 224 px: its position embeddings are those of that grid already. */
function vit(model: ViTModel, count: number): Model {
  const config = { ...vitModels[model], imageSize: 224 };
  return {
    params: createWeights(vitShapes(config)),
    inputs: { images: normals([count, 3, 224, 224]) },
    apply: (params, { images }) => applyViT(config, params, images!),
  };
}
