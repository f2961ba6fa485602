import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { readConfig } from "../src/train/read-config.ts";
import { stagesOf, tokenizerConfigSchema } from "../src/train/tokenizer-config.ts";
import { packageFile } from "../src/version.ts";

const folder = packageFile("configs/tokenizer");
const names = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith(".yaml"));
const read = (name: string) => readConfig(join(folder, name), tokenizerConfigSchema);

describe("configurations", () => {
  it.each(names)("%s fits the schema", async (name) => {
    expect(stagesOf(await read(name)).length).toBeGreaterThan(0);
  });

  it.each([
    ["stages.latent.semanticWeight=5", /stages\.latent: unrecognized key: "semanticWeight"/],
    ["stages.refine.lora={}", /stages\.refine: unrecognized key: "lora"/],
    ["stages.refine.steps=10", /stages\.refine\.warmup: expected fewer than the 10 steps, got 20/],
    ["stages.latent.emaDecay=1", /stages\.latent\.emaDecay: .*<1/],
    ["data.heldOut=10", /data\.heldOut: expected none beside the sample photographs/],
    ["interpolation=nearest", /interpolation: .*"bilinear"\|"bicubic"/],
  ])("refuse %s, which would do nothing or fail later", async (setting, message) => {
    await expect(readConfig("small", tokenizerConfigSchema, [setting])).rejects.toThrow(message);
  });

  it("have names, and a list of them where there is none", async () => {
    expect(await readConfig("ablations/lora", tokenizerConfigSchema)).toEqual(
      await read("ablations/lora.yaml"),
    );
    await expect(readConfig("smal", tokenizerConfigSchema)).rejects.toThrow(
      /one of ablations\/before-adapter, .*small, got smal/,
    );
  });

  it.each(names)(
    "%s says where it comes from, what is ours, its cost, what to expect",
    async (name) => {
      const header = /^(#.*\n)+/.exec(await readFile(join(folder, name), "utf8"))?.[0] ?? "";
      const labels = [...header.matchAll(/^# (Source|Our choice|Cost|Expect): \S/gm)].map(
        ([, label]) => label,
      );
      expect(labels).toEqual(["Source", "Our choice", "Cost", "Expect"]);
      for (const [, other] of header.matchAll(/(\S+\.yaml)/g)) {
        expect(names, `${other} of ${name}`).toContain(join(dirname(name), other!));
      }
    },
  );

  it("take over what they do not change", async () => {
    const { stages, encoder, batchSize } = await read("ablations/semantic-5.yaml");
    expect({ encoder, batchSize }).toEqual({ encoder: "facebook/dinov2-large", batchSize: 256 });
    expect(stages.perceptual).toMatchObject({
      steps: 200_000,
      emaDecay: 0.9999,
      semanticWeight: 5,
    });
    expect(stages.refine).toBe(false);
  });
});
