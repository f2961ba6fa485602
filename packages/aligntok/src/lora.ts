/**
 * Low-rank adaptation of the encoder: in place of a weight W `(out, in)` two factors are trained, with
 * `W + alpha / rank * B A` in its stead.
 *
 * Paper: Hu et al., "LoRA", 2022. Upstream: huggingface/peft, whose key names and initialisation these are:
 * `NAME.lora_A.weight` `(rank, in)` as torch.nn.Linear starts, `NAME.lora_B.weight` `(out, rank)` zeros. Difference:
 * the product is added to the weight inside the graph, not to the layer's output, so models need not know of it.
 */
import { check, type NdArray, type Parameters, type Random } from "@aligntok/core";
import { constant, type TensorParameters, torchLinear } from "@aligntok/nn";
import { add, matMul, mul, type Tensor2D } from "@tensorflow/tfjs-core";

export interface LoraConfig {
  /** Rows of A and columns of B. @default 16 */
  readonly rank?: number;
  /** The product has the factor `alpha / rank`. @default the rank */
  readonly alpha?: number;
  /** Ends of the layers' names, such as `qkv` or `attn.proj`, as peft's `target_modules`. @default every linear layer of the blocks */
  readonly targets?: readonly string[];
}

const [keyA, keyB] = [".lora_A.weight", ".lora_B.weight"] as const;

/**
 * Factors for the encoder's linear layers in `params`.
 *
 * @throws AlignTokError `bad-input` where a target names no layer, or the rank is not a whole number of at least 1
 */
export function initLora(
  { rank = 16, targets }: LoraConfig,
  params: Parameters,
  random: Random,
): Parameters {
  check(
    Number.isInteger(rank) && rank >= 1,
    () => `lora rank: expected a whole number of at least 1, got ${rank}. 16 is usual`,
  );
  const layers = Object.keys(params)
    .filter((key) => /^encoder\.blocks\..*\.weight$/.test(key) && params[key]!.shape.length === 2)
    .map((key) => key.slice(0, -".weight".length));
  const isOf = (layer: string, target: string) => layer.endsWith(`.${target}`);
  for (const target of targets ?? []) {
    check(
      layers.some((layer) => isOf(layer, target)),
      () =>
        `lora target: expected the end of the name of a linear layer of the encoder's blocks, got ${target}. layers are named as ${layers[0]}`,
    );
  }
  const factors: Record<string, NdArray<"float32">> = {};
  for (const layer of layers) {
    if (targets && !targets.some((target) => isOf(layer, target))) continue;
    const [output, input] = params[`${layer}.weight`]!.shape as [number, number];
    Object.assign(factors, torchLinear(random, `${layer}.lora_A`, [rank, input], { bias: false }));
    factors[layer + keyB] = constant([output, rank], 0);
  }
  return factors;
}

function isLoraFactor(name: string): boolean {
  return name.endsWith(keyA) || name.endsWith(keyB);
}

/** The weights that a model reads: each adapted one with its product added, the factors gone. */
export function applyLora(config: LoraConfig, params: TensorParameters): TensorParameters {
  const merged = Object.fromEntries(Object.entries(params).filter(([key]) => !isLoraFactor(key)));
  for (const layer of adaptedLayers(params)) {
    const [a, b] = [params[layer + keyA]!, params[layer + keyB]!] as [Tensor2D, Tensor2D];
    const product = mul(matMul(b, a), scaleOf(config, a.shape[0]));
    merged[`${layer}.weight`] = add(params[`${layer}.weight`]!, product);
  }
  return merged;
}

/** The same on the host: an ordinary set of weights, for saving. */
export function mergeLora(config: LoraConfig, params: Parameters): Parameters {
  const merged: Record<string, NdArray<"float32">> = Object.fromEntries(
    Object.entries(params).filter(([key]) => !isLoraFactor(key)),
  );
  for (const layer of adaptedLayers(params)) {
    const [a, b] = [params[layer + keyA]!, params[layer + keyB]!];
    const [rank, input] = a.shape as [number, number];
    const scale = scaleOf(config, rank);
    const { data, ...weight } = params[`${layer}.weight`]!;
    const sum = Float32Array.from(data, (value, i) => {
      const [row, column] = [Math.floor(i / input), i % input];
      let product = 0;
      for (let k = 0; k < rank; k++) {
        product += b.data[row * rank + k]! * a.data[k * input + column]!;
      }
      return value + scale * product;
    });
    merged[`${layer}.weight`] = { ...weight, data: sum };
  }
  return merged;
}

function scaleOf({ alpha }: LoraConfig, rank: number): number {
  return (alpha ?? rank) / rank;
}

function adaptedLayers(params: Readonly<Record<string, unknown>>): string[] {
  return Object.keys(params)
    .filter((key) => key.endsWith(keyA))
    .map((key) => key.slice(0, -keyA.length));
}
