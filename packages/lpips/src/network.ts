/**
 * The convolutional parts of VGG16, AlexNet and SqueezeNet 1.1 as LPIPS cuts them, under torchvision's
 * names (`features.N.weight`). Widths are whatever the weights say, so reduced networks work too.
 *
 * Papers: Simonyan and Zisserman 2015 (VGG), Krizhevsky 2014 (AlexNet, the one-tower version),
 * Iandola et al. 2016 (SqueezeNet). Topology: pytorch/vision; cuts: richzhang/PerceptualSimilarity.
 */
import { maxPool2d } from "@aligntok/jit";
import { conv2d } from "@aligntok/nn";
import * as tf from "@tensorflow/tfjs-core";

type Weights = Readonly<Record<string, tf.Tensor>>;

export type NetworkName = "vgg" | "alex" | "squeeze";

/** One step of a network; `tap` marks an activation that LPIPS compares. */
type Layer = (
  | {
      readonly kind: "conv";
      readonly index: number;
      readonly stride?: number;
      readonly padding: number;
    }
  | { readonly kind: "pool"; readonly size: 2 | 3; readonly ceil?: boolean }
  | { readonly kind: "fire"; readonly index: number }
) & { readonly tap?: true };

const conv = (index: number, tap?: true): Layer => ({
  kind: "conv",
  index,
  padding: 1,
  ...(tap && { tap }),
});
const fire = (index: number, tap?: true): Layer => ({ kind: "fire", index, ...(tap && { tap }) });
const halve: Layer = { kind: "pool", size: 2 };
const overlap: Layer = { kind: "pool", size: 3 };
const overlapCeil: Layer = { kind: "pool", size: 3, ceil: true };

/** Every convolution is followed by a ReLU, and taps are taken after it. */
export const networks: Readonly<Record<NetworkName, readonly Layer[]>> = {
  vgg: [
    conv(0),
    conv(2, true),
    halve,
    conv(5),
    conv(7, true),
    halve,
    conv(10),
    conv(12),
    conv(14, true),
    halve,
    conv(17),
    conv(19),
    conv(21, true),
    halve,
    conv(24),
    conv(26),
    conv(28, true),
  ],
  alex: [
    { kind: "conv", index: 0, stride: 4, padding: 2, tap: true },
    overlap,
    { kind: "conv", index: 3, padding: 2, tap: true },
    overlap,
    conv(6, true),
    conv(8, true),
    conv(10, true),
  ],
  squeeze: [
    { kind: "conv", index: 0, stride: 2, padding: 0, tap: true },
    overlapCeil,
    fire(3),
    fire(4, true),
    overlapCeil,
    fire(6),
    fire(7, true),
    overlapCeil,
    fire(9, true),
    fire(10, true),
    fire(11, true),
    fire(12, true),
  ],
};

/** The tapped activations, each `(N, C, h, w)`, of normalised images `(N, 3, H, W)`. */
export function applyNetwork(name: NetworkName, params: Weights, images: tf.Tensor): tf.Tensor[] {
  const taps: tf.Tensor[] = [];
  let x = images;
  for (const layer of networks[name]) {
    if (layer.kind === "pool") {
      x = maxPool2d(x, layer.size, { stride: 2, ceil: layer.ceil ?? false });
    } else if (layer.kind === "fire") {
      x = applyFire(params, `features.${layer.index}`, x);
    } else {
      const { index, stride = 1, padding } = layer;
      x = tf.relu(conv2d(params, `features.${index}`, x, { stride, padding }));
    }
    if (layer.tap) taps.push(x);
  }
  return taps;
}

/** SqueezeNet's module: a 1x1 bottleneck, then 1x1 and 3x3 convolutions side by side. */
function applyFire(params: Weights, name: string, x: tf.Tensor): tf.Tensor {
  const squeezed = tf.relu(conv2d(params, `${name}.squeeze`, x, { padding: 0 }));
  const narrow = tf.relu(conv2d(params, `${name}.expand1x1`, squeezed, { padding: 0 }));
  const wide = tf.relu(conv2d(params, `${name}.expand3x3`, squeezed, { padding: 1 }));
  return tf.concat([narrow, wide], 1);
}
