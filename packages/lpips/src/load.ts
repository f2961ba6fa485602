import { loadParameters, locateWeights } from "@aligntok/checkpoint";
import type { NdArray, Parameters } from "@aligntok/core";
import { check } from "@aligntok/core";
import { type EngineOptions, jit } from "@aligntok/jit";
import type { Tensor } from "@tensorflow/tfjs-core";
import { applyLpips, checkLpipsParameters, type LpipsConfig, lpipsKeys } from "./lpips.ts";
import type { NetworkName } from "./network.ts";

export interface LpipsFiles {
  /** @default "vgg" */
  readonly network?: NetworkName;
}

/** A configuration with its weights: what `applyLpips` and `createLpips` take. */
export interface LpipsWeights {
  readonly config: LpipsConfig;
  readonly parameters: Parameters;
}

/**
 * Reads the weights of an LPIPS (`.pth` or safetensors) from two files, the network under torchvision's names
 * (`features.0.weight`, ...) and the heads under upstream's (`lin0.model.1.weight`, ...), or from one with all of a
 * `lpips.LPIPS` of Python (`net.slice1.0.weight`, `lin0.model.1.weight`, ...). Weights that LPIPS does not use, such as
 * the classifier's, are left out.
 *
 * @param files paths, or names of weights that the cache holds already: `["vgg16", "lpips-vgg"]`; nothing is downloaded
 * @throws AlignTokError `bad-input` when weights are missing or belong to another network
 */
export async function loadLpips(
  files: string | readonly string[],
  { network = "vgg" }: LpipsFiles = {},
): Promise<LpipsWeights> {
  const config = { network };
  const all: Record<string, Parameters[string]> = {};
  for (const file of typeof files === "string" ? [files] : files) {
    const { path } = await locateWeights(file);
    for (const [key, array] of Object.entries(await loadParameters(path))) {
      all[key.replace(/^net\.slice\d+\./, "features.")] = array;
    }
  }
  checkLpipsParameters(config, all);
  const parameters = Object.fromEntries(lpipsKeys(config).map((key) => [key, all[key]!]));
  return { config, parameters };
}

export interface Lpips {
  /** Distances (N), each >= 0, of two batches `(N, H, W, 3)` uint8 or float32 in [-1, 1] of one size. */
  distance(
    a: NdArray<"uint8"> | NdArray<"float32">,
    b: NdArray<"uint8"> | NdArray<"float32">,
  ): Promise<Float32Array>;
  /** Releases the compiled graphs. */
  dispose(): void;
}

/** A ready-made distance between images. A graph is compiled at the first batch of each shape. */
export function createLpips(
  { config, parameters }: LpipsWeights,
  engine: EngineOptions = {},
): Lpips {
  checkLpipsParameters(config, parameters);
  const graph = jit(
    ({ params, a, b }: { params: Readonly<Record<string, Tensor>>; a: Tensor; b: Tensor }) =>
      applyLpips(config, params, a, b),
    { ...engine, bind: { params: parameters } },
  );

  return {
    async distance(a, b) {
      check(
        a.shape.length === 4 && a.shape[3] === 3 && a.shape.join() === b.shape.join(),
        () =>
          `lpips: expected two batches (N, H, W, 3) of one shape, got [${a.shape}] and [${b.shape}]`,
      );
      const distances = await graph({ a: toPlanes(a), b: toPlanes(b) });
      return distances.data;
    },
    dispose: graph.dispose,
  };
}

/** `(N, H, W, 3)`, uint8 or in [-1, 1], to `(N, 3, H, W)` float32 in [-1, 1]. */
function toPlanes(images: NdArray<"uint8"> | NdArray<"float32">): NdArray<"float32"> {
  const [n, h, w] = images.shape as [number, number, number, number];
  const [factor, offset] = images.dtype === "uint8" ? [1 / 127.5, -1] : [1, 0];
  const data = new Float32Array(n * 3 * h * w);
  const pixels = h * w;
  for (let i = 0; i < n; i++) {
    for (let c = 0; c < 3; c++) {
      const out = (i * 3 + c) * pixels;
      for (let p = 0; p < pixels; p++) {
        data[out + p] = images.data[(i * pixels + p) * 3 + c]! * factor + offset;
      }
    }
  }
  return { dtype: "float32", shape: [n, 3, h, w], data };
}
