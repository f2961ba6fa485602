import { createHash } from "node:crypto";
import { access, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openTokenizer } from "@aligntok/aligntok";
import { loadTrainedAutoencoder } from "@aligntok/aligntok/vae";
import { readSafetensors } from "@aligntok/checkpoint";
import type { NdArray } from "@aligntok/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { packageFile } from "../src/version.ts";
import { aligntok } from "./command-line.ts";

const small = "small";
/** Images of 32 px and few steps: what a stage does, not what it learns. */
const quick = [
  ["data.size=32", "batchSize=4", "checkpointEvery=3"],
  ["stages.latent.steps=6", "stages.perceptual.steps=6", "stages.refine.steps=3"],
  ["stages.latent.discriminatorStart=3", "stages.perceptual.discriminatorStart=0"],
  ["latent", "perceptual", "refine"].map((stage) => `stages.${stage}.warmup=2`),
]
  .flat()
  .flatMap((setting) => ["--set", setting]);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-train-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** Of a baseline of one stage. */
function settingsOf(size: string, stage: Readonly<Record<string, number>>): string[] {
  return [
    ...[`data.size=${size}`, "batchSize=4", "checkpointEvery=2"],
    ...Object.entries(stage).map(([key, value]) => `stages.reconstruction.${key}=${value}`),
  ].flatMap((setting) => ["--set", setting]);
}

/** A digest of each tensor of the tokenizer in a folder. */
async function weights(...place: string[]): Promise<Record<string, string>> {
  const { tensors } = await readSafetensors(join(...place, "tokenizer", "model.safetensors"));
  const digest = ({ data: { buffer, byteOffset, byteLength } }: NdArray) =>
    createHash("sha256")
      .update(new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength))
      .digest("hex");
  return Object.fromEntries(Object.entries(tensors).map(([name, array]) => [name, digest(array)]));
}

const train = (...args: string[]) => aligntok(["train", "tokenizer", small, ...args]);

describe("train tokenizer", () => {
  it("prints its plan: what is trained, what is frozen, what it takes", async () => {
    const { status, stdout } = await train("--plan", "--json");
    expect(status).toBe(0);
    const { stages } = JSON.parse(stdout);
    expect(stages.map(({ stage }: { stage: string }) => stage)).toEqual([
      "latent",
      "perceptual",
      "refine",
    ]);
    const [latent, perceptual, refine] = stages;
    expect(Object.keys(latent.trained)).toEqual(["adapter", "decoder"]);
    expect(Object.keys(latent.frozen)).toEqual(["encoder"]);
    expect(perceptual.frozen).toEqual({});
    expect(Object.keys(refine.trained)).toEqual(["decoder"]);
    expect(latent.memory.activations).toBeGreaterThan(1e8);
  });

  it("names the keys that do not fit", async () => {
    const { status, stderr } = await train(
      "--plan",
      "--set",
      "stages.latent.lr=fast",
      "--set",
      "color=1",
    );
    expect(status).toBe(2);
    expect(stderr).toMatch(/stages\.latent\.lr: expected number/);
    expect(stderr).toMatch(/"color"/);
  });

  it("refuses what does not fit before anything is made", async () => {
    const out = join(folder, "refused");
    const { status, stderr } = await train("--set", "data.size=16", "--out", out);
    expect(stderr).toMatch(/discriminator: expected images of at least 24x24 pixels/);
    expect(status).toBe(2);
    await expect(access(out)).rejects.toThrow();
  });

  it("trains three stages, resumes after a kill and ends in the same weights", async () => {
    const [whole, killed] = [join(folder, "whole"), join(folder, "killed")];
    const first = await train(...quick, "--out", whole, "--json");
    expect(first.stderr).toMatch(/stage 3/);
    expect(first.status).toBe(0);
    const { metrics } = JSON.parse(first.stdout);
    expect(metrics.stages).toHaveLength(3);
    expect(await readFile(join(whole, "report.html"), "utf8")).toMatch(/Reconstructions/);

    const again = await train(...quick, "--out", whole);
    expect(again.status).toBe(2);
    expect(again.stderr).toMatch(/--resume/);

    await aligntok(["train", "tokenizer", small, ...quick, "--out", killed], (child, stderr) => {
      if (/stage perceptual {2}\d/.test(stderr)) child.kill("SIGKILL");
    });
    const resumed = await train(...quick, "--out", killed, "--resume", "--json");
    expect(resumed.status).toBe(0);
    expect(await weights(killed)).toEqual(await weights(whole));
    expect(JSON.parse(resumed.stdout).metrics).toEqual(metrics);

    const later = join(folder, "later");
    const stage = `from=${join(whole, "stages", "1-latent", "tokenizer")}`;
    const second = [stage, "stages.latent=false", "stages.refine=false"];
    const goOn = [...quick, ...second.flatMap((setting) => ["--set", setting])];
    expect((await train(...goOn, "--out", later)).status).toBe(0);
    expect(await weights(later)).toMatchObject(await weights(whole, "stages", "2-perceptual"));

    const larger = [
      ...["--set", "data.size=[48, 32]", "--set", "discriminator=false"],
      ...["--set", "stages.perceptual.steps=3"],
    ];
    const resized = join(folder, "resized");
    expect((await train(...goOn, ...larger, "--out", resized)).status).toBe(0);
    expect((await openTokenizer(join(resized, "tokenizer"))).imageSize).toEqual([48, 32]);

    const other = await train("--plan", "--set", stage, "--set", "decoder=small");
    expect(other.status).toBe(2);
    expect(other.stderr).toMatch(/decoder: expected that of .*1-latent/);
  }, 600_000);

  it("trains a baseline that other commands open", async () => {
    const out = join(folder, "va-vae");
    const config = packageFile("configs/tokenizer/baselines/small-va-vae.yaml");
    const settings = settingsOf("[32, 48]", { steps: 4, warmup: 2, discriminatorStart: 2 });
    const { status, stdout, stderr } = await aligntok([
      ...["train", "tokenizer", config, "--out", out, "--json"],
      ...settings,
    ]);
    expect(stderr).toMatch(/trains encoder .* decoder .* linear_proj .* frozen: foundation_model/);
    expect(status).toBe(0);
    expect(JSON.parse(stdout).metrics.stages).toMatchObject([{ stage: "reconstruction" }]);
    const inspected = await aligntok(["weights", "inspect", join(out, "tokenizer")]);
    expect(inspected.stdout).toMatch(/quant_conv/);
    const tokenizer = await openTokenizer(join(out, "tokenizer"));
    expect(tokenizer.latentShape(32, 32)).toEqual([2, 2, 32]);
    expect(tokenizer.stats?.std).toHaveLength(32);
    const phase = ["--set", `from=${join(out, "tokenizer")}`, "--out", join(folder, "phase")];
    const again = await aligntok(["train", "tokenizer", config, ...settings, ...phase]);
    expect(again.status).toBe(0);
    expect(
      (await loadTrainedAutoencoder(join(folder, "phase", "tokenizer"))).projection?.shape,
    ).toEqual([192, 32, 1, 1]);
  }, 240_000);

  it("stops where a loss is not finite: step, term, last good checkpoint", async () => {
    const config = packageFile("configs/tokenizer/baselines/small-vae.yaml");
    const settings = settingsOf("32", {
      ...{ steps: 6, warmup: 2, discriminatorStart: 6, lr: 1e20, emaDecay: 0 },
    });
    const { status, stderr } = await aligntok([
      ...["train", "tokenizer", config, "--out", join(folder, "nan"), "--on-nan", "stop"],
      ...settings,
    ]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/step 3 of 6: expected a finite absolute, got NaN/);
    expect(stderr).toMatch(/checkpoints.step-000002/);
  }, 120_000);

  it("reads a configuration of one stage", async () => {
    const path = join(folder, "refine.yaml");
    await writeFile(path, "data: { images: samples }\nstages: { refine: { steps: 10 } }\n");
    const { status, stdout } = await aligntok([
      "train",
      "tokenizer",
      path,
      "--plan",
      "--set",
      "decoder=tiny",
    ]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/stage 1 {2}refine: trains decoder .*frozen: encoder .*adapter/);
  });
});
