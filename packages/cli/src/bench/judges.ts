/** What judges decoded images: PatchGAN with its optimizer, and LPIPS on VGG16. */
import { createLpipsPerceptual, isRunningStatistic, type Perceptual } from "@aligntok/aligntok";
import type { Parameters } from "@aligntok/core";
import { lpipsKeys } from "@aligntok/lpips";
import { createAdam, flattenParameters, zerosLike } from "@aligntok/train";
import { createWeights } from "./weights.ts";

export const betas = [0.5, 0.9] as const;
export const lr = 1e-5;

/** A discriminator with its optimizer; `update` takes the running statistics that the graph has moved. */
export function createJudge(params: Parameters) {
  const part = (statistics: boolean) =>
    Object.fromEntries(
      Object.entries(params).filter(([name]) => isRunningStatistic(name) === statistics),
    );
  const weights = flattenParameters(part(false));
  const statistics = part(true);
  const gradients = zerosLike(weights);
  const adam = createAdam(weights, { betas });
  return {
    count: weights.flat.length,
    inputs: { ...weights.views, ...statistics } as Parameters,
    gradients: gradients.views,
    update(moved: Parameters): void {
      adam.update(gradients.flat, { lr });
      for (const [name, { data }] of Object.entries(statistics)) data.set(moved[name]!.data);
    },
  };
}

export function createLpips(): Perceptual {
  return createLpipsPerceptual({
    config: { network: "vgg" },
    parameters: createWeights(vggShapes()),
  });
}

/** VGG16's convolutions up to the last tap, 3x3, and the heads of LPIPS. */
function vggShapes(): Record<string, readonly number[]> {
  const widths = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512];
  const heads = [64, 128, 256, 512, 512];
  const shapes: Record<string, readonly number[]> = {};
  let [layer, input] = [0, 3];
  for (const name of lpipsKeys({ network: "vgg" })) {
    if (name.startsWith("lin")) shapes[name] = [1, heads[Number(name[3])]!, 1, 1];
    else if (name.endsWith(".bias")) {
      shapes[name] = [input];
    } else {
      const output = widths[layer++]!;
      shapes[name] = [output, input, 3, 3];
      input = output;
    }
  }
  return shapes;
}
