/**
 * The features that distances are measured in: the 768 of the Inception network that FID is defined by, after Mixed_6e. No
 * row has seen that network. Real weights of its last blocks, for FID's own 2048, are not needed.
 */
import { loadParameters, locateWeights } from "@aligntok/checkpoint";
import {
  batchRanges,
  type Images,
  type NdArray,
  ndarray,
  type Parameters,
  rows,
} from "@aligntok/core";
import {
  applyInception,
  computeFeatureStatistics,
  type FeatureStatistics,
  foldInception,
  inceptionScopes,
} from "@aligntok/eval-fid";
import { resize } from "@aligntok/image";
import { compile, type EngineOptions, spec } from "@aligntok/jit";
import type { Photographs } from "./photographs.ts";

const side = 299;
const batchSize = 20;
const width = 768;

export interface Judge {
  statisticsOf(images: Images): Promise<FeatureStatistics>;
  readonly train: FeatureStatistics;
  readonly heldOut: FeatureStatistics;
}

/**
 * @param path `inception-fid` or another path of pytorch-fid's file; or safetensors with the convolutions up to
 *   Mixed_6e, normalisation folded in, under the scopes of TensorFlow's graph with `_` for `/`
 */
export async function createJudge(
  path: string,
  { photographs, engine }: { readonly photographs: Photographs; readonly engine: EngineOptions },
): Promise<Judge> {
  const network = await compile(
    ({ images, params }) => applyInception(params, images, { features: width }),
    { images: spec([batchSize, 3, side, side]) },
    { ...engine, bind: { params: await readWeights(path) } },
  );
  const extractor = {
    name: `inception-${width}`,
    width,
    async extract(images: Images) {
      const data = new Float32Array(images.shape[0]! * width);
      for (const [start, end] of batchRanges(images.shape[0]!, batchSize)) {
        const { data: features } = await network.run({ images: prepare(rows(images, start, end)) });
        data.set((features as Float32Array).subarray(0, (end - start) * width), start * width);
      }
      return ndarray(data, [images.shape[0]!, width]);
    },
  };
  const statisticsOf = (images: Images) => computeFeatureStatistics([images], extractor);
  return {
    statisticsOf,
    train: await statisticsOf(photographs.train.images),
    heldOut: await statisticsOf(photographs.heldOut.images),
  };
}

async function readWeights(path: string): Promise<Parameters> {
  const tensors = await loadParameters((await locateWeights(path)).path);
  if ("Conv2d_1a_3x3.conv.weight" in tensors) return foldInception(tensors);
  const params: Record<string, NdArray<"float32">> = {};
  for (const [scope, name] of Object.entries(inceptionScopes())) {
    for (const part of ["weight", "bias"]) {
      const tensor = tensors[`${scope.replaceAll("/", "_")}.${part}`];
      if (tensor) params[`${name}.${part}`] = tensor;
    }
  }
  return params;
}

/** `(n, H, W, 3)` to `(batchSize, 3, 299, 299)`: bicubic, (pixel - 128) / 128; rows beyond n are zero. */
function prepare(images: Images): NdArray<"float32"> {
  const [count, height, columns] = images.shape as [number, number, number, number];
  const data = new Float32Array(batchSize * 3 * side * side);
  for (let i = 0; i < count; i++) {
    const image = ndarray(rows(images, i, i + 1).data, [height, columns, 3], "uint8");
    const { data: pixels } = resize(image, { height: side, width: side, filter: "bicubic" });
    for (let c = 0; c < 3; c++) {
      const start = (i * 3 + c) * side * side;
      for (let p = 0; p < side * side; p++) data[start + p] = (pixels[p * 3 + c]! - 128) / 128;
    }
  }
  return ndarray(data, [batchSize, 3, side, side]);
}
