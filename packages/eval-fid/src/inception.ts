/**
 * The Inception network whose features FID, sFID and Inception Score are computed on.
 *
 * Paper: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016. Upstream: the weights of
 * Google's `inception-2015-12-05` under the names of their PyTorch port, mseitzer/pytorch-fid at b9c1811. They differ from
 * torchvision's Inception v3 in three places: average pooling does not count the padding, the last block pools by
 * maximum, and there are 1008 classes. Difference: batch normalisation is folded into the convolutions beforehand.
 *
 * N images, C channels of a map, h x w its size.
 */
import { check, type NdArray, type Parameters, zeros } from "@aligntok/core";
import { averagePool2d, maxPool2d } from "@aligntok/jit";
import { conv2d, type TensorParameters } from "@aligntok/nn";
import { concat, mean, relu, type Tensor } from "@tensorflow/tfjs-core";
import {
  type Branch,
  blocks,
  convolutions,
  inceptionShapes,
  type Layer,
  stem,
} from "./inception-layers.ts";

/** Features that metrics are computed on, by their number: the mean over the map after each part of the network. */
export type InceptionFeatures = 64 | 192 | 768 | 2048;

const epsilon = 1e-3;

/**
 * Convolutions with a bias, `NAME.weight` and `NAME.bias`, in place of convolutions and normalisations: w gamma / s and
 * beta - mean gamma / s with s = sqrt(variance + 0.001). Other tensors are left out.
 *
 * @throws AlignTokError `bad-input` where a tensor is missing or has another shape
 */
export function foldInception(params: Parameters): Parameters {
  for (const [name, shape] of Object.entries(inceptionShapes())) {
    if (name.startsWith("fc.")) continue;
    check(
      params[name]?.shape.join() === shape.join(),
      () =>
        `inception ${name}: expected [${shape}], got ${params[name] ? `[${params[name].shape}]` : "none"}. give the weights of pt_inception-2015-12-05, not torchvision's`,
    );
  }
  const folded: Record<string, NdArray<"float32">> = {};
  for (const { name } of convolutions()) {
    const of = (part: string) => params[`${name}.bn.${part}`]!.data;
    const { shape, data } = params[`${name}.conv.weight`]!;
    const [weight, bias] = [zeros(shape), zeros([shape[0]!])];
    const size = data.length / shape[0]!;
    for (let o = 0; o < shape[0]!; o++) {
      const factor = of("weight")[o]! / Math.sqrt(of("running_var")[o]! + epsilon);
      bias.data[o] = of("bias")[o]! - of("running_mean")[o]! * factor;
      for (let i = o * size; i < (o + 1) * size; i++) weight.data[i] = data[i]! * factor;
    }
    folded[`${name}.weight`] = weight;
    folded[`${name}.bias`] = bias;
  }
  return folded;
}

/**
 * The features `(N, features)` of images: the last ones, those that FID compares, or earlier ones, pytorch-fid's `--dims`.
 *
 * @param params of `foldInception`; of the parts that are reached
 * @param images `(N, 3, H, W)`, (pixel - 128) / 128, 299 pixels a side for comparable numbers, at least 75
 */
export function applyInception(
  params: TensorParameters,
  images: Tensor,
  options: {
    /** After the first pooling, the second one, Mixed_6e, or the last block. @default 2048 */
    readonly features?: InceptionFeatures;
  } = {},
): Tensor {
  const { features = 2048 } = options;
  let x = images;
  for (const item of stem) {
    x = item === "halve" ? halve(x) : convolve(params, "", item, x);
    if (item === "halve" && x.shape[1] === features) return mean(x, [2, 3]);
  }
  for (const { name, branches } of blocks) {
    x = concat(
      branches.flatMap((branch) => follow(params, `${name}.`, branch, x)),
      1,
    ); // (N, C, h, w)
    if (features === 768 && name === "Mixed_6e") break;
  }
  return mean(x, [2, 3]);
}

/** The maps that a path through a block ends in: one, or two where it forks. */
function follow(params: TensorParameters, prefix: string, branch: Branch, x: Tensor): Tensor[] {
  const { pool, layers, fork } = branch;
  const end = layers.reduce(
    (input, item) => convolve(params, prefix, item, input),
    pool ? pooling[pool](x) : x,
  );
  return fork ? fork.map((item) => convolve(params, prefix, item, end)) : [end];
}

const halve = (x: Tensor) => maxPool2d(x, 3, { stride: 2 });
const pooling = {
  halve,
  average: (x: Tensor) => averagePool2d(x, 3, { stride: 1, padding: 1, includePadding: false }),
  maximum: (x: Tensor) => maxPool2d(x, 3, { stride: 1, padding: 1 }),
};

function convolve(params: TensorParameters, prefix: string, item: Layer, x: Tensor): Tensor {
  const { name, kernel, stride, padded } = item;
  const [above, left] = padded ? kernel.map((side) => (side - 1) / 2) : [0, 0];
  const padding = [above!, left!, above!, left!] as const;
  return relu(conv2d(params, prefix + name, x, { stride, padding }));
}
