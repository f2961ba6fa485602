import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { trainAutoencoder } from "../../src/vae/index.ts";
import {
  convolutionPerceptual,
  discriminator,
  encoder,
  expectTrained,
  readGolden,
  toBytes,
  under,
} from "../golden.ts";

const given = await readGolden("vae/steps");
const start = {
  config: { latent: 3, channels: 4, multipliers: [1, 2], blocks: 1, attention: [1], groups: 2 },
  parameters: under(await readGolden("vae/ldm"), "weights/"),
  discriminator: under(given, "discriminator."),
  projection: given["linear_proj.weight"]!,
};
const batch = { images: toBytes(given.images!), features: given.features! };
/** Its tokens are given, so that nothing but their width matters. */
const vision = { encoder: { config: { ...encoder, width: 6 }, parameters: {} } };

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "autoencoder-steps-"));
});
afterAll(() => rm(root, { recursive: true }));

describe("two whole steps of Adam on upstream's sums, discriminator included", () => {
  it.each([
    ["plain", {}],
    ["vision", { vision }],
  ])("%s: weights equal PyTorch's", async (name, options) => {
    const golden = await readGolden(`vae/step-${name}`);
    const trained = await trainAutoencoder(start, {
      folder: join(root, name),
      steps: 2,
      batch: () => batch,
      lr: 1e-3,
      klWeight: 0.3,
      perceptual: convolutionPerceptual(given["perceptual.weight"]!),
      discriminator,
      discriminatorStart: 0,
      threads: 1,
      ...options,
    });
    expectTrained(trained.discriminator!, under(golden, "discriminator."), start.discriminator);
    const { parameters, projection } = trained;
    const expected = Object.entries(golden).filter(([key]) => !key.startsWith("discriminator."));
    expect(expected.length).toBe(Object.keys(start.parameters).length + (projection ? 1 : 0));
    expectTrained(
      { ...parameters, ...(projection && { "linear_proj.weight": projection }) },
      Object.fromEntries(expected),
      { ...start.parameters, "linear_proj.weight": start.projection },
    );
  });
});
