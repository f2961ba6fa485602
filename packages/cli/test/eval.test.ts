import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { initTokenizer, saveTokenizer } from "@aligntok/aligntok";
import { readSafetensors, writeSafetensors } from "@aligntok/checkpoint";
import { createRandom, type NdArray, ndarray } from "@aligntok/core";
import { readLatents } from "@aligntok/diffusion";
import { initViT, vitModels } from "@aligntok/encoders";
import {
  computeCknna,
  computeLatentAnalysis,
  computeTopAccuracy,
  fitLinearProbe,
  meanPool,
} from "@aligntok/eval-fid";
import { readImage } from "@aligntok/image";
import { readSamplePhotographs } from "@aligntok/samples";
import { afterAll, beforeAll, expect, test } from "vitest";
import { holdOut } from "../src/eval/probe.ts";
import { aligntok } from "./command-line.ts";

const size = 32;
const groups = ["Fruits", "Green Leafy Vegetables", "Nuts and Oil Seeds"];
const perGroup = 12;

let folder = "";
let path = "";
let latents: NdArray<"float32">;
let labels: Int32Array;

/** Sample photographs of three groups through the encode command with a tiny random tokenizer. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-eval-"));
  const vit = {
    ...vitModels.vit_tiny_patch16_224,
    ...{
      imageSize: size,
      patchSize: 4,
      width: 16,
      depth: 1,
      heads: 2,
      hiddenWidth: 32,
      classes: 0,
    },
  };
  const decoder = {
    latent: 4,
    channels: 8,
    multipliers: [1, 1],
    blocks: 0,
    groups: 4,
    pixelShuffle: 2,
  };
  const weights = initTokenizer(
    {
      encoder: { config: vit, parameters: initViT(vit, createRandom(1, "vit")) },
      decoder,
      random: createRandom(1, "tokenizer"),
    },
    { imageSize: size },
  );
  await saveTokenizer(join(folder, "tokenizer"), weights);
  const { photographs } = await readSamplePhotographs();
  for (const group of groups) {
    const some = photographs.filter((one) => one.group === group).slice(0, perGroup);
    expect(some).toHaveLength(perGroup);
    await mkdir(join(folder, "photos", group), { recursive: true });
    for (const { key, read } of some) {
      await writeFile(join(folder, "photos", group, `${key}.jpg`), await read());
    }
  }
  path = join(folder, "latents.safetensors");
  const { status, stderr } = await aligntok([
    ...["encode", "--tokenizer", join(folder, "tokenizer"), "--images", join(folder, "photos")],
    ...["--out", path, "--batch", "16"],
  ]);
  expect({ status, stderr }).toMatchObject({ status: 0 });
  ({ latents, labels } = await readLatents(path));
  expect(latents.shape).toEqual([groups.length * perGroup, 8, 8, 4]);
}, 120_000);
afterAll(() => rm(folder, { recursive: true }));

test("eval probe is the library's probe on the same split; labels may come from a file of names", async () => {
  const { status, stdout } = await aligntok([
    ...["eval", "probe", "--latents", path, "--holdout", "0.25", "--seed", "3", "--json"],
  ]);
  expect(status).toBe(0);
  const share = { share: 0.25, seed: 3 };
  const { train, test } = holdOut({ features: meanPool(latents), labels }, share);
  const probe = fitLinearProbe(train.features, train.labels, { classes: 3 });
  const answer = JSON.parse(stdout);
  expect(answer).toMatchObject({ classes: 3, width: 4, train: 27, test: 9, solver: "lbfgs" });
  const judge = (rows: typeof test) =>
    computeTopAccuracy(probe.scores(rows.features), rows.labels, { k: 1 });
  expect(answer.best).toEqual({ setting: 1e-3, trainTop1: judge(train), top1: judge(test) });

  const names = join(folder, "classes.txt");
  await writeFile(names, [...labels].map((label) => `${groups[label]}\n`).join(""));
  const again = await aligntok([
    ...["eval", "probe", "--features", path, "--labels", names, "--holdout", "0.25"],
    ...["--seed", "3", "--solver", "sgd", "--rates", "0.1,1", "--epochs", "20"],
  ]);
  expect(again.status).toBe(0);
  expect(again.stdout).toContain("27 images to fit, 9 to judge by, 3 classes, 4 channels");
  expect(again.stdout).toMatch(/^rate +fitted top-1 +top-1\n0\.1 +[\d.]+ % +[\d.]+ %\n1 +/m);
});

test("eval cknna is the library's, and refuses files of other images", async () => {
  const { metadata } = await readSafetensors(path);
  const random = createRandom(1, "features");
  const features = ndarray(random.normals(36 * 6), [36, 6]);
  const other = join(folder, "features.safetensors");
  await writeSafetensors(other, { features }, { metadata });
  const { status, stdout } = await aligntok([
    ...["eval", "cknna", "--a", path, "--b", other, "--k", "5", "--json"],
  ]);
  expect(status).toBe(0);
  const wanted = computeCknna(meanPool(latents), features, { k: 5 });
  expect(JSON.parse(stdout)).toMatchObject({ images: 36, k: 5, widths: [4, 6] });
  expect(JSON.parse(stdout).cknna).toBeCloseTo(wanted, 12);

  const keys = JSON.stringify(JSON.parse(metadata.keys!).reverse());
  await writeSafetensors(other, { features }, { metadata: { keys } });
  const refused = await aligntok(["eval", "cknna", "--a", path, "--b", other]);
  expect(refused.status).toBe(2);
  expect(refused.stderr).toMatch(/^aligntok: .*expected image 0 to be .*\.jpg as in .*\.\n$/m);
});

test("eval latents is the library's analysis, with maps beside the photographs and a page", async () => {
  const [picture, page] = [join(folder, "maps.png"), join(folder, "latents.html")];
  const photos = join(folder, "photos");
  const { status, stdout, stderr } = await aligntok([
    ...["eval", "latents", "--latents", path, "--images", photos, "--probe", "--batch", "7"],
    ...["--features", path, "--pca", picture, "--report", page, "--json"],
  ]);
  expect({ status, stderr }).toMatchObject({ status: 0 });
  const answer = JSON.parse(stdout);
  const analysis = await computeLatentAnalysis([latents]);
  expect(answer).toMatchObject({ count: 36, shape: [8, 8, 4] });
  expect(answer.effectiveRank).toBeCloseTo(analysis.effectiveRank, 9);
  for (const [c, std] of analysis.channels.std.entries()) {
    expect(answer.channels.std[c]).toBeCloseTo(std, 12);
  }
  expect(answer.spectrum.frequencies).toEqual([0, 0.125, 0.25, 0.375, 0.5]);
  expect(answer.cknna.value).toBeGreaterThan(0.98); // to itself
  expect(answer.probe.test).toBe(7);

  const sheet = await readImage(picture);
  expect(sheet.shape).toEqual([2 * 128 + 12, 8 * 128 + 36, 3]); // 8 pairs in two rows
  const html = await readFile(page, "utf8");
  expect(html.match(/<img /g)).toHaveLength(16);
  expect(html).toContain(`${(100 * answer.probe.best.top1).toFixed(1)} %`);
  expect(html).toContain("36 images, 8 x 8 positions, 4 channels");
});

test("latents that a command cannot use are one line that says what to do, and 2", async () => {
  const bare = join(folder, "bare.safetensors");
  await writeSafetensors(bare, { latents: ndarray(new Float32Array(4 * 2), [4, 2, 1, 1]) });
  for (const [args, message] of [
    [["eval", "probe", "--latents", bare], /give --labels/],
    [["eval", "probe"], /either --latents or --features/],
    [["eval", "latents", "--latents", bare, "--pca", "x.png"], /3 channels or more/],
    [["eval", "latents", "--latents", join(folder, "classes.txt")], /classes\.txt/],
  ] as const) {
    const { status, stdout, stderr } = await aligntok(args);
    expect(status).toBe(2);
    expect(stdout).toBe("");
    expect(stderr.trimEnd().split("\n").at(-1)).toMatch(message);
  }
});
