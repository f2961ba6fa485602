import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { initAutoencoder } from "@aligntok/aligntok/vae";
import {
  loadParameters,
  openCheckpoint,
  readNpy,
  readNpz,
  readSafetensors,
  writeSafetensors,
} from "@aligntok/checkpoint";
import { createRandom, ndarray, zeros } from "@aligntok/core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { formatWeightsTree } from "../src/weights-tree.ts";
import { aligntok } from "./command-line.ts";

let folder = "";
let model = "";
const head = ndarray(Float32Array.of(0.5, -2, 1 / 3), [3]);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-weights-"));
  model = join(folder, "model.safetensors");
  const tensors = { "a.0.w": zeros([4]), "a.1.w": zeros([4]), head, n: zeros([], "int64") };
  await writeSafetensors(model, tensors, { metadata: { note: "kept" } });
});
afterAll(() => rm(folder, { recursive: true }));

test("a tree shows blocks that are alike once, and others apart", () => {
  const blocks = (count: number, width: number, from = 0) =>
    Array.from({ length: count }, (_, i) => [
      [`blocks.${from + i}.norm.weight`, zeros([width])],
      [`blocks.${from + i}.norm.bias`, zeros([width])],
    ]).flat();
  const lines = formatWeightsTree(
    Object.fromEntries([["cls", zeros([1, 2])], ...blocks(12, 2), ...blocks(1, 3, 12)]),
  );
  expect(
    lines.map((line) => line.replace(/ {2,}(?=\S)/g, (gap, at) => (at === 0 ? gap : " | "))),
  ).toEqual([
    "cls | float32 [1, 2] | 8 B",
    "blocks",
    "  0..11.norm | 12 alike",
    "    weight | float32 [2] | 8 B",
    "    bias | float32 [2] | 8 B",
    "  12.norm",
    "    weight | float32 [3] | 12 B",
    "    bias | float32 [3] | 12 B",
  ]);
});

test("inspect prints the tree, totals and metadata; --json the same as data", async () => {
  const { status, stdout } = await aligntok(["weights", "inspect", model]);
  expect(status).toBe(0);
  expect(stdout).toContain("0..1.w");
  expect(stdout).toContain("4 tensors (1 int64, 3 float32), 12 elements, 52 B");
  expect(stdout).toContain("note: kept");
  const json = JSON.parse((await aligntok(["weights", "inspect", model, "--json"])).stdout);
  expect(json).toMatchObject({
    format: "safetensors",
    totals: { tensors: 4, parameters: 12, bytes: 52 },
    metadata: { note: "kept" },
  });
  const bad = await aligntok(["weights", "inspect", join(folder, "none")]);
  expect(bad.status).toBe(2);
});

test("list --json tells commits, files and hashes as far as they are known", async () => {
  const { status, stdout } = await aligntok(["weights", "list", "--json"]);
  expect(status).toBe(0);
  const { weights } = JSON.parse(stdout);
  const entry = (name: string) => weights.find((one: { name: string }) => one.name === name);
  expect(entry("dinov2-small")).toMatchObject({
    licence: "Apache-2.0",
    source: "facebook/dinov2-small",
    revision: expect.stringMatching(/^[0-9a-f]{40}$/),
    files: [{ name: "model.safetensors", sha256: expect.stringMatching(/^[0-9a-f]{64}$/) }],
  });
  expect(entry("vavae-imagenet256-f16d32-dinov2")).toMatchObject({
    revision: "main",
    files: [{ name: "vavae-imagenet256-f16d32-dinov2.pt" }],
  });
  expect(entry("vgg16").files).toEqual([
    {
      name: "vgg16-397923af.pth",
      url: "https://download.pytorch.org/models/vgg16-397923af.pth",
      sha256: "397923af",
    },
  ]);
});

test("convert casts floats, keeps the rest, and says what changed", async () => {
  const out = join(folder, "half.safetensors");
  const { stdout } = await aligntok(["weights", "convert", model, out, "--dtype", "float16"]);
  expect(stdout).toContain("3 float32 to float16");
  expect(stdout).toContain("1 int64 unchanged");
  const { tensors, metadata } = await openCheckpoint(out);
  expect(metadata).toEqual({ format: "pt", note: "kept" });
  // 1/3 in half precision is 0x3555
  expect(tensors.head!.data).toEqual(Uint16Array.of(0x3800, 0xc000, 0x3555));
  expect(tensors.n!.dtype).toBe("int64");
});

test("convert to NumPy's files and from them; inspect tells what they hold", async () => {
  const [npz, npy] = [join(folder, "model.npz"), join(folder, "head.npy")];
  expect((await aligntok(["weights", "convert", model, npz])).status).toBe(0);
  expect(await readNpz(npz)).toEqual(await readSafetensors(model).then(({ tensors }) => tensors));
  const several = await aligntok(["weights", "convert", npz, npy]);
  expect(several).toMatchObject({ status: 2 });
  expect(several.stderr).toContain("expected one tensor, which is what .npy holds, got 4");
  const single = join(folder, "head.safetensors");
  await writeSafetensors(single, { head });
  expect((await aligntok(["weights", "convert", single, npy])).status).toBe(0);
  expect(await readNpy(npy)).toEqual(head);
  const { stdout } = await aligntok(["weights", "inspect", npz]);
  expect(stdout).toContain("model.npz: npz");
  expect(stdout).toContain("4 tensors (1 int64, 3 float32), 12 elements, 52 B");
});

test("convert writes shards, but not over its own input", async () => {
  const out = join(folder, "shards");
  const args = ["weights", "convert", model, out, "--max-shard", "20B"];
  expect((await aligntok(args)).status).toBe(0);
  expect((await readdir(out)).length).toBeGreaterThan(2);
  expect(await loadParameters(out)).toEqual(await loadParameters(model));
  const before = await readFile(model);
  const same = await aligntok(["weights", "convert", model, folder]);
  expect(same).toMatchObject({ status: 2 });
  expect(same.stderr).toContain("expected another folder");
  expect(await readFile(model)).toEqual(before);
});

test("convert refuses numbers that the dtype cannot hold", async () => {
  const large = join(folder, "large.safetensors");
  await writeSafetensors(large, { w: ndarray(Float32Array.of(1, -70000), [2]) });
  const out = join(folder, "large-half.safetensors");
  const { status, stderr } = await aligntok([
    "weights",
    "convert",
    large,
    out,
    "--dtype",
    "float16",
  ]);
  expect(status).toBe(2);
  expect(stderr).toContain("tensor w: expected numbers below 65520");
  expect(await readdir(folder)).not.toContain("large-half.safetensors");
});

test("convert --tokenizer imports one trained elsewhere, with statistics; inspect tells its parts", async () => {
  const config = { latent: 2, channels: 32, multipliers: [1, 1], blocks: 1 };
  const parameters = initAutoencoder(config, createRandom(0, "autoencoder"));
  const [file, stats] = [join(folder, "elsewhere.safetensors"), join(folder, "l.safetensors")];
  await writeSafetensors(
    file,
    Object.fromEntries(
      Object.entries(parameters).map(([name, array]) => [`first_stage_model.${name}`, array]),
    ),
  );
  // channels 1, 3 and 0, 4: of means 2, 2 and deviations sqrt(2), sqrt(8)
  await writeSafetensors(stats, {
    latents: ndarray(Float32Array.of(1, 3, 0, 4), [1, 2, 1, 2]),
    labels: ndarray(BigInt64Array.of(0n), [1], "int64"),
  });
  const out = join(folder, "imported");
  const args = ["weights", "convert", file, out, "--tokenizer", "--stats", stats];
  const { status, stderr } = await aligntok(args);
  expect({ status, stderr }).toMatchObject({ status: 0 });
  // of its training, and no part of it
  await writeSafetensors(join(out, "training.safetensors"), {
    "discriminator.main.0.weight": head,
  });
  const inspected = JSON.parse((await aligntok(["weights", "inspect", out, "--json"])).stdout);
  const { tokenizer, tensors } = inspected;
  expect(tensors.filter(({ name }: { name: string }) => name.includes("discriminator"))).toEqual(
    [],
  );
  const size = (part: string) =>
    Object.entries(parameters).reduce(
      (sum, [name, { data }]) => (name.startsWith(`${part}.`) ? sum + data.length : sum),
      0,
    );
  expect(tokenizer).toMatchObject({ stride: 2, latent: 2, config: { channels: 32 } });
  expect(tokenizer.parts).toEqual(
    Object.fromEntries(
      ["encoder", "decoder", "quant_conv", "post_quant_conv"].map((part) => [part, size(part)]),
    ),
  );
  expect(tokenizer.stats.mean).toEqual([2, 2]);
  expect(tokenizer.stats.std[1]).toBeCloseTo(Math.sqrt(8));
});
