import { readdir } from "node:fs/promises";
import { join } from "node:path";
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
