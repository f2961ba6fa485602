/** The discriminator with its optimizer, as a training run holds it. */
import { check, type Parameters, type Random } from "@aligntok/core";
import {
  assignParameters,
  createAdamW,
  flattenParameters,
  type TensorSet,
  zerosLike,
} from "@aligntok/train";
import {
  type DiscriminatorConfig,
  initDiscriminator,
  isRunningStatistic,
} from "./discriminator.ts";

/** VA-VAE's and LDM's, for both networks. */
export const betas = [0.5, 0.9] as const;

/** Statistics lie beside the trained weights and move by the graph's outputs. */
export function createDiscriminatorRun(
  config: DiscriminatorConfig,
  carried: Parameters | undefined,
  random: Random,
) {
  const fresh = initDiscriminator(config, random);
  if (carried) checkCarried(fresh, carried);
  const all = Object.entries(carried ?? fresh);
  const part = (statistics: boolean) =>
    flattenParameters(
      Object.fromEntries(all.filter(([name]) => isRunningStatistic(name) === statistics)),
    );
  const weights = part(false);
  const statistics = part(true);
  const adam = createAdamW(weights, { betas, weightDecay: 0 });
  return {
    gradients: zerosLike(weights),
    /** Live views of everything. */
    inputs: (): Parameters => ({ ...weights.views, ...statistics.views }),
    update(gradients: Float32Array, { lr }: { readonly lr: number }, moved: Parameters): void {
      adam.update(gradients, { lr });
      for (const name of statistics.names) statistics.views[name]!.data.set(moved[name]!.data);
    },
    save: (): { discriminator: TensorSet; discriminator_optimizer: TensorSet } => ({
      discriminator: { ...weights.views, ...statistics.views },
      discriminator_optimizer: adam.state(),
    }),
    restore(saved: TensorSet, optimizer: TensorSet): void {
      assignParameters(weights, saved);
      assignParameters(statistics, saved);
      adam.restore(optimizer);
    },
  };
}

export type DiscriminatorRun = ReturnType<typeof createDiscriminatorRun>;

function checkCarried(expected: Parameters, carried: Parameters): void {
  const wrong = Object.keys(expected).find(
    (name) => carried[name]?.shape.join() !== expected[name]!.shape.join(),
  );
  check(
    wrong === undefined,
    () =>
      `discriminator ${wrong}: expected [${expected[wrong!]!.shape}], got [${carried[wrong!]?.shape}] from the stage before. give the same discriminator, or leave it out of the previous stage`,
  );
}
