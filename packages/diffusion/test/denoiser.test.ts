import { createRandom, ndarray, zeros } from "@aligntok/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CompiledDenoiser, createDenoiser } from "../src/denoiser.ts";
import { initLightningDit, type LightningDitConfig } from "../src/lightningdit.ts";
import { draw, goldenParameters, readGolden } from "./golden.ts";

describe("createDenoiser", () => {
  let config: LightningDitConfig;
  let denoiser: CompiledDenoiser;
  let velocity: Float32Array; // (2, C, S, S)

  beforeAll(async () => {
    const read = await readGolden("default");
    config = read.config;
    velocity = read.golden.velocity!.data;
    denoiser = createDenoiser(config, goldenParameters(config), { threads: 1 });
  });
  afterAll(() => denoiser.dispose());

  const times = Float32Array.of(0.25, 0.8);

  it("computes PyTorch's velocity, channels last", async () => {
    const shape = [2, 4, 4, 4];
    const [data, noise] = [draw(1001, shape), draw(1002, shape)];
    const latents = zeros(shape);
    const expected = zeros(shape);
    for (let i = 0; i < latents.data.length; i++) {
      const [n, position, c] = [i >> 6, (i >> 2) % 16, i % 4];
      const j = n * 64 + c * 16 + position; // the same element, channels first
      latents.data[i] = 4 * (times[n]! * data[j]! + (1 - times[n]!) * noise[j]!);
      expected.data[i] = velocity[j]!;
    }
    const got = await denoiser.velocity(latents, times, Int32Array.of(1, denoiser.nullLabel));
    expect(got.shape).toEqual(shape);
    const error = Math.max(...got.data.map((v, i) => Math.abs(v - expected.data[i]!)));
    expect(error).toBeLessThan(1e-4 * Math.max(...velocity.map(Math.abs)));
  });

  it("takes batches of any size, each sample by itself", async () => {
    const latents = ndarray(createRandom(0).normals(3 * 64), [3, 4, 4, 4]);
    const all = await denoiser.velocity(
      latents,
      Float32Array.of(0, 0.5, 1),
      Int32Array.of(0, 1, 2),
    );
    const second = ndarray(latents.data.slice(64, 128), [1, 4, 4, 4]);
    const alone = await denoiser.velocity(second, Float32Array.of(0.5), Int32Array.of(1));
    const error = Math.max(...alone.data.map((v, i) => Math.abs(v - all.data[64 + i]!)));
    expect(error).toBeLessThan(1e-5);
  });

  it("refuses latents and weights of another shape", async () => {
    await expect(denoiser.velocity(zeros([2, 4, 4, 3]), times, new Int32Array(2))).rejects.toThrow(
      "expected latents [2,4,4,4] and 2 labels, got [2,4,4,3] and 2",
    );
    const wider = initLightningDit({ ...config, width: 32 }, createRandom(0));
    expect(() => createDenoiser(config, wider)).toThrow("pos_embed [1,16,32] instead of [1,16,16]");
  });
});
