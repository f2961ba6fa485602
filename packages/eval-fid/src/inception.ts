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

/** A convolution without bias, batch normalisation, ReLU. */
interface Layer {
  readonly name: string;
  readonly output: number;
  readonly kernel: readonly [number, number];
  readonly stride: 1 | 2;
  /** Whether zeros around the map keep its size. */
  readonly padded: boolean;
}

/** One path through a block: pooling, layers, and at the end two layers side by side where it forks. */
interface Branch {
  readonly pool?: "average" | "maximum" | "halve";
  readonly layers: readonly Layer[];
  readonly fork?: readonly Layer[];
}

interface Block {
  readonly name: string;
  readonly branches: readonly Branch[];
}

function layer(
  name: string,
  output: number,
  kernel: number | readonly [number, number],
  options: { readonly stride?: 2; readonly padded?: boolean } = {},
): Layer {
  const { stride = 1, padded = stride === 1 } = options;
  return {
    name,
    output,
    kernel: typeof kernel === "number" ? [kernel, kernel] : kernel,
    stride,
    padded,
  };
}

const stem: readonly (Layer | "halve")[] = [
  layer("Conv2d_1a_3x3", 32, 3, { stride: 2 }),
  layer("Conv2d_2a_3x3", 32, 3, { padded: false }),
  layer("Conv2d_2b_3x3", 64, 3),
  "halve",
  layer("Conv2d_3b_1x1", 80, 1),
  layer("Conv2d_4a_3x3", 192, 3, { padded: false }),
  "halve",
];

const blocks: readonly Block[] = [
  { name: "Mixed_5b", branches: blockA(32) },
  { name: "Mixed_5c", branches: blockA(64) },
  { name: "Mixed_5d", branches: blockA(64) },
  {
    name: "Mixed_6a",
    branches: [
      { layers: [layer("branch3x3", 384, 3, { stride: 2 })] },
      {
        layers: [
          layer("branch3x3dbl_1", 64, 1),
          layer("branch3x3dbl_2", 96, 3),
          layer("branch3x3dbl_3", 96, 3, { stride: 2 }),
        ],
      },
      { pool: "halve", layers: [] },
    ],
  },
  { name: "Mixed_6b", branches: blockC(128) },
  { name: "Mixed_6c", branches: blockC(160) },
  { name: "Mixed_6d", branches: blockC(160) },
  { name: "Mixed_6e", branches: blockC(192) },
  {
    name: "Mixed_7a",
    branches: [
      {
        layers: [layer("branch3x3_1", 192, 1), layer("branch3x3_2", 320, 3, { stride: 2 })],
      },
      {
        layers: [
          layer("branch7x7x3_1", 192, 1),
          layer("branch7x7x3_2", 192, [1, 7]),
          layer("branch7x7x3_3", 192, [7, 1]),
          layer("branch7x7x3_4", 192, 3, { stride: 2 }),
        ],
      },
      { pool: "halve", layers: [] },
    ],
  },
  { name: "Mixed_7b", branches: blockE("average") },
  { name: "Mixed_7c", branches: blockE("maximum") },
];

function blockA(pooled: number): Branch[] {
  return [
    { layers: [layer("branch1x1", 64, 1)] },
    { layers: [layer("branch5x5_1", 48, 1), layer("branch5x5_2", 64, 5)] },
    {
      layers: [
        layer("branch3x3dbl_1", 64, 1),
        layer("branch3x3dbl_2", 96, 3),
        layer("branch3x3dbl_3", 96, 3),
      ],
    },
    { pool: "average", layers: [layer("branch_pool", pooled, 1)] },
  ];
}

function blockC(inner: number): Branch[] {
  return [
    { layers: [layer("branch1x1", 192, 1)] },
    {
      layers: [
        layer("branch7x7_1", inner, 1),
        layer("branch7x7_2", inner, [1, 7]),
        layer("branch7x7_3", 192, [7, 1]),
      ],
    },
    {
      layers: [
        layer("branch7x7dbl_1", inner, 1),
        layer("branch7x7dbl_2", inner, [7, 1]),
        layer("branch7x7dbl_3", inner, [1, 7]),
        layer("branch7x7dbl_4", inner, [7, 1]),
        layer("branch7x7dbl_5", 192, [1, 7]),
      ],
    },
    { pool: "average", layers: [layer("branch_pool", 192, 1)] },
  ];
}

function blockE(pool: "average" | "maximum"): Branch[] {
  const fork = (name: string) => [layer(`${name}a`, 384, [1, 3]), layer(`${name}b`, 384, [3, 1])];
  return [
    { layers: [layer("branch1x1", 320, 1)] },
    { layers: [layer("branch3x3_1", 384, 1)], fork: fork("branch3x3_2") },
    {
      layers: [layer("branch3x3dbl_1", 448, 1), layer("branch3x3dbl_2", 384, 3)],
      fork: fork("branch3x3dbl_3"),
    },
    { pool, layers: [layer("branch_pool", 192, 1)] },
  ];
}

const features = 2048;
const classes = 1008;
const epsilon = 1e-3;

/** Name and shape of every tensor of the published file: 94 convolutions with their normalisations, and the classifier. */
export function inceptionShapes(): Readonly<Record<string, readonly number[]>> {
  const shapes: Record<string, readonly number[]> = {};
  for (const { name, input, output, kernel } of convolutions()) {
    shapes[`${name}.conv.weight`] = [output, input, ...kernel];
    for (const part of ["weight", "bias", "running_mean", "running_var"]) {
      shapes[`${name}.bn.${part}`] = [output];
    }
  }
  return { ...shapes, "fc.weight": [classes, features], "fc.bias": [classes] };
}

/** Every convolution under its whole name, with the channels that it takes. */
function convolutions(): (Layer & { readonly input: number })[] {
  const found: (Layer & { readonly input: number })[] = [];
  let width = 3;
  const add = (prefix: string, item: Layer, input: number): number => {
    found.push({ ...item, name: prefix + item.name, input });
    return item.output;
  };
  for (const item of stem) if (item !== "halve") width = add("", item, width);
  for (const { name, branches } of blocks) {
    const outputs = branches.map(({ layers, fork = [] }) => {
      const end = layers.reduce((input, item) => add(`${name}.`, item, input), width);
      const forked = fork.map((item) => add(`${name}.`, item, end));
      return fork.length > 0 ? forked.reduce((a, b) => a + b) : end;
    });
    width = outputs.reduce((a, b) => a + b);
  }
  return found;
}

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
 * The features `(N, 2048)` of images, those that FID compares.
 *
 * @param params of `foldInception`
 * @param images `(N, 3, H, W)`, (pixel - 128) / 128, 299 pixels a side for comparable numbers, at least 75
 */
export function applyInception(params: TensorParameters, images: Tensor): Tensor {
  let x = images;
  for (const item of stem) x = item === "halve" ? halve(x) : convolve(params, "", item, x);
  for (const { name, branches } of blocks) {
    const outputs = branches.flatMap(({ pool, layers, fork }) => {
      const end = layers.reduce(
        (input, item) => convolve(params, `${name}.`, item, input),
        pool ? pooling[pool](x) : x,
      );
      return fork ? fork.map((item) => convolve(params, `${name}.`, item, end)) : [end];
    });
    x = concat(outputs, 1); // (N, C, h, w)
  }
  return mean(x, [2, 3]);
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
