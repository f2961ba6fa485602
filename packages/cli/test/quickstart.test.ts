/** The quickstart as a process, with a tiny random encoder and few steps: whole, killed, interrupted, refused. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { cp, mkdir, readdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRandom, zeros } from "@aligntok/core";
import { initViT, saveEncoder, type ViTConfig, vitModels } from "@aligntok/encoders";
import { encodePng } from "@aligntok/image";
import { afterAll, beforeAll, expect, it } from "vitest";
import { aligntok } from "./command-line.ts";

const folder = mkdtempSync(join(tmpdir(), "aligntok-quickstart-"));
const encoder = join(folder, "encoder");
const images = join(folder, "images");
const common = ["--minutes", "0.01", "--encoder", encoder, "--images", images, "--threads", "2"];

beforeAll(async () => {
  const config: ViTConfig = {
    ...vitModels.vit_tiny_patch16_224,
    imageSize: 128,
    width: 32,
    depth: 2,
    heads: 2,
    hiddenWidth: 64,
    classes: 0,
  };
  await saveEncoder(encoder, { config, parameters: initViT(config, createRandom(0, "encoder")) });
  for (const name of ["dark", "bright"]) {
    await mkdir(join(images, name), { recursive: true });
    for (let i = 0; i < 30; i++) {
      const image = zeros([128, 128, 3], "uint8");
      const random = createRandom(i, name);
      const base = name === "dark" ? 40 : 180;
      image.data.forEach((_, j) => {
        image.data[j] = base + random.integer(40);
      });
      await writeFile(join(images, name, `${i}.png`), await encodePng(image));
    }
  }
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** metrics.json without what depends on the machine's speed. */
function metricsOf(out: string): Record<string, unknown> {
  const { seconds, ...rest } = JSON.parse(readFileSync(join(out, "metrics.json"), "utf8"));
  expect(seconds).toBeGreaterThan(0);
  return rest;
}

it("runs to a report, and ends in the same metrics when it is killed and started again", async () => {
  const whole = join(folder, "whole");
  const first = await aligntok(["quickstart", ...common, "--out", whole, "--json"]);
  expect(first.stderr).not.toContain("aligntok:");
  expect(first.status).toBe(0);
  expect(JSON.parse(first.stdout).metrics.stages.refine.psnr).toBeGreaterThan(0);

  const metrics = metricsOf(whole) as { stages: object; diffusion: object; samples: object };
  expect(Object.keys(metrics.stages)).toEqual(["latent", "perceptual", "refine"]);
  expect(metrics.diffusion).toEqual({ lossStart: expect.any(Number), lossEnd: expect.any(Number) });
  expect(metrics.samples).toEqual({ fd: expect.any(Number), fdNoise: expect.any(Number) });
  const report = readFileSync(join(whole, "report.html"), "utf8");
  expect(report).toContain("stage 3");
  expect(report).not.toMatch(/(src|href)="(https?:|\/\/)/);
  expect(await readdir(join(whole, "samples"))).toContain("reconstructions.png");

  // Moments in a run: after a checkpoint within a stage, in later stages, in the diffusion.
  const killed = join(folder, "killed");
  const saved = (...path: string[]) => {
    const checkpoints = join(killed, ...path, "checkpoints");
    return (
      existsSync(checkpoints) && readdirSync(checkpoints).some((name) => name.startsWith("step-"))
    );
  };
  const moments = [
    () => saved("stages", "1-latent"),
    () => saved("stages", "2-perceptual"),
    () => saved("stages", "3-refine"),
    () => saved("diffusion"),
  ];
  for (const reached of moments) {
    let watch: NodeJS.Timeout | undefined;
    const outcome = await aligntok(["quickstart", ...common, "--out", killed], (child) => {
      watch ??= setInterval(() => reached() && child.kill("SIGKILL"), 5);
    });
    clearInterval(watch);
    expect(outcome.status).toBeNull();
  }
  const last = await aligntok(["quickstart", ...common, "--out", killed]);
  expect(last.status).toBe(0);
  expect(metricsOf(killed)).toEqual(metricsOf(whole));
}, 600_000);

it("ends with 130 at Ctrl-C, and refuses other settings in the same folder", async () => {
  const out = join(folder, "interrupted");
  const { status, stderr } = await aligntok(
    ["quickstart", ...common, "--out", out],
    (child, text) => {
      if (text.includes("stage latent") && !child.killed) child.kill("SIGINT");
    },
  );
  expect(status).toBe(130);
  expect(stderr).toMatch(/everything is saved in .*\. run the same command again to continue\.$/m);
  const other = await aligntok(["quickstart", ...common, "--seed", "7", "--out", out]);
  expect(other.status).toBe(2);
  expect(other.stderr).toMatch(/other settings \(seed\)/);
}, 120_000);

it("says in one line what is wrong with images or the folder", async () => {
  const few = join(folder, "few");
  await mkdir(few);
  await writeFile(join(few, "a.png"), await encodePng(zeros([128, 128, 3], "uint8")));
  const tooFew = await aligntok([
    "quickstart",
    "--encoder",
    encoder,
    "--images",
    few,
    "--out",
    join(folder, "x"),
  ]);
  expect(tooFew.status).toBe(2);
  expect(tooFew.stderr).toMatch(/aligntok: images: expected at least 16 photographs/);

  const damaged = join(folder, "damaged");
  await cp(images, damaged, { recursive: true });
  await writeFile(join(damaged, "dark", "broken.png"), "not a picture");
  const broken = await aligntok([
    "quickstart",
    "--encoder",
    encoder,
    "--images",
    damaged,
    "--out",
    join(folder, "y"),
  ]);
  expect(broken.status).toBe(2);
  expect(broken.stderr.trim().split("\n")).toHaveLength(1);
  expect(broken.stderr).toMatch(/broken\.png/);

  const blocked = await aligntok([
    "quickstart",
    "--encoder",
    encoder,
    "--images",
    images,
    "--out",
    join(encoder, "config.json", "run"),
  ]);
  expect(blocked.status).toBe(1);
  expect(blocked.stderr).toContain("choose a writable folder");
}, 60_000);
