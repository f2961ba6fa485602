/**
 * What the Inception network of 2015 is made of: every convolution, its place, and its names in PyTorch and in TensorFlow.
 *
 * Upstream: names of mseitzer/pytorch-fid at b9c1811, and of the graph in Google's `inception-2015-12-05`.
 */

/** A convolution without bias, batch normalisation, ReLU. */
export interface Layer {
  readonly name: string;
  readonly output: number;
  readonly kernel: readonly [number, number];
  readonly stride: 1 | 2;
  /** Whether zeros around the map keep its size. */
  readonly padded: boolean;
}

/** One path through a block: pooling, layers, and at the end two layers side by side where it forks. */
export interface Branch {
  readonly pool?: "average" | "maximum" | "halve";
  readonly layers: readonly Layer[];
  readonly fork?: readonly Layer[];
}

export interface Block {
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

export const stem: readonly (Layer | "halve")[] = [
  layer("Conv2d_1a_3x3", 32, 3, { stride: 2 }),
  layer("Conv2d_2a_3x3", 32, 3, { padded: false }),
  layer("Conv2d_2b_3x3", 64, 3),
  "halve",
  layer("Conv2d_3b_1x1", 80, 1),
  layer("Conv2d_4a_3x3", 192, 3, { padded: false }),
  "halve",
];

export const blocks: readonly Block[] = [
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

export interface Convolution extends Layer {
  /** The whole name, `Mixed_5c.branch5x5_2`. */
  readonly name: string;
  /** The name in TensorFlow's graph, `mixed_1/tower/conv_1`. */
  readonly scope: string;
  /** Channels that it takes. */
  readonly input: number;
}

/** Every convolution, in the order of the network. */
export function convolutions(): Convolution[] {
  const found: Convolution[] = [];
  let width = 3;
  const add = (prefix: string, item: Layer, place: { scope: string; input: number }): number => {
    found.push({ ...item, ...place, name: prefix + item.name });
    return item.output;
  };
  for (const item of stem) {
    if (item !== "halve")
      width = add("", item, { scope: numbered("conv", found.length), input: width });
  }
  for (const [b, { name, branches }] of blocks.entries()) {
    let towers = 0;
    const outputs = branches.map(({ pool, layers, fork = [] }) => {
      // A path of one convolution has no scope of its own in TensorFlow's graph, others are numbered.
      const alone = layers.length === 1 && !pool;
      const path = [numbered("mixed", b), ...(alone ? [] : [numbered("tower", towers)])].join("/");
      if (!alone && layers.length > 0) towers++;
      const end = layers.reduce(
        (input, item, i) =>
          add(`${name}.`, item, { scope: `${path}/${numbered("conv", i)}`, input }),
        width,
      );
      const forked = fork.map((item, i) =>
        add(`${name}.`, item, { scope: `${path}/mixed/${numbered("conv", i)}`, input: end }),
      );
      return fork.length > 0 ? forked.reduce((a, b) => a + b) : end;
    });
    width = outputs.reduce((a, b) => a + b);
  }
  return found;
}

/** TensorFlow's way to count: `conv`, `conv_1`, `conv_2`. */
function numbered(name: string, index: number): string {
  return index === 0 ? name : `${name}_${index}`;
}

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

/** Scopes of TensorFlow's graph to the names here: `mixed_1/tower/conv_1` to `Mixed_5c.branch5x5_2`. */
export function inceptionScopes(): Readonly<Record<string, string>> {
  return Object.fromEntries(convolutions().map(({ scope, name }) => [scope, name]));
}
