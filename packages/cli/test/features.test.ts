import {
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readSafetensors } from "@aligntok/checkpoint";
import { createRandom, type Images, ndarray, rows } from "@aligntok/core";
import { createEncoder, saveEncoder, type VisionEncoder, vitModels } from "@aligntok/encoders";
import { encodePng, readImage } from "@aligntok/image";
import { engines } from "@aligntok/jit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { aligntok } from "./command-line.ts";

const size = 32;
const config = {
  ...vitModels.vit_tiny_patch16_224,
  imageSize: size,
  transform: { resize: size, crop: size },
  width: 16,
  depth: 2,
  heads: 2,
  hiddenWidth: 32,
  classes: 0,
};

let folder = "";
let encoder: VisionEncoder;
let images: Images;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-features-"));
  encoder = createEncoder(config, createRandom(1, "encoder"));
  await saveEncoder(join(folder, "encoder"), encoder);
  const random = createRandom(2, "images");
  const pixels = size * size * 3;
  images = ndarray(
    Uint8Array.from({ length: 5 * pixels }, () => random.integer(256)),
    [5, size, size, 3],
    "uint8",
  );
  for (let i = 0; i < 5; i++) {
    const path = join(folder, "photos", i < 2 ? "apples" : "pears");
    await mkdir(path, { recursive: true });
    const image = ndarray(
      images.data.slice(i * pixels, (i + 1) * pixels),
      [size, size, 3],
      "uint8",
    );
    await writeFile(join(path, `${i}.png`), await encodePng(image));
  }
});
afterAll(async () => {
  encoder.dispose();
  await rm(folder, { recursive: true });
});

const run = (...args: string[]) =>
  aligntok(["features", "--encoder", join(folder, "encoder"), "--images", ...args]);

test("tokens of a folder are those of the encoder, in the order of the paths", async () => {
  const out = join(folder, "tokens.npy");
  const args = [join(folder, "photos"), "--out", out, "--batch", "2", "--json"];
  const { status, stdout, stderr } = await run(...args);
  expect({ status, stderr }).toMatchObject({ status: 0 });
  expect(JSON.parse(stdout)).toMatchObject({ out, shape: [5, 5, 16], dtype: "float32", size });
  const bytes = await readFile(out);
  expect(bytes.toString("latin1", 0, 128)).toContain("'shape': (5, 5, 16), }");
  const tokens = new Float32Array(bytes.buffer.slice(bytes.byteOffset + 128));
  const wanted = (await encoder.features(images)).data;
  expect(tokens).toHaveLength(wanted.length);
  const error = tokens.reduce((most, value, i) => Math.max(most, Math.abs(value - wanted[i]!)), 0);
  expect(error).toBeLessThan(1e-5);
});

test("--engine tensorflow computes the same where it is installed, and says what to install where it is not", async () => {
  const out = join(folder, "tensorflow.npy");
  const args = [join(folder, "photos"), "--out", out, "--engine", "tensorflow"];
  const tensorflow = (await engines()).find(({ name }) => name === "tensorflow");
  const { status, stderr } = await run(...args);
  if (!tensorflow?.available) {
    expect(status).toBe(1);
    const line = stderr.trimEnd().split("\n").at(-1);
    expect(line).toMatch(/^aligntok: engine tensorflow: .*npm install @tensorflow\/tfjs-node/);
    return;
  }
  expect({ status, stderr }).toMatchObject({ status: 0 });
  const bytes = await readFile(out);
  const tokens = new Float32Array(bytes.buffer.slice(bytes.byteOffset + 128));
  const wanted = (await encoder.features(images)).data;
  expect(tokens).toHaveLength(wanted.length);
  const error = tokens.reduce((most, value, i) => Math.max(most, Math.abs(value - wanted[i]!)), 0);
  expect(error).toBeLessThan(1e-4);
});

test("safetensors keeps labels and names; --pool cls is the class token", async () => {
  const out = join(folder, "cls.safetensors");
  const { status } = await run(join(folder, "photos"), "--pool", "cls", "--out", out);
  expect(status).toBe(0);
  const { tensors, metadata } = await readSafetensors(out);
  expect(tensors.features?.shape).toEqual([5, 16]);
  expect(tensors.labels?.data).toEqual(Int32Array.of(0, 0, 1, 1, 1));
  expect(JSON.parse(metadata.keys!)).toEqual([
    "apples/0.png",
    "apples/1.png",
    "pears/2.png",
    "pears/3.png",
    "pears/4.png",
  ]);
  expect(JSON.parse(metadata.classes!)).toEqual({ 0: "apples", 1: "pears" });
});

test("a broken image is one line that names it, and the rows before it are gone on with", async () => {
  const broken = join(folder, "broken");
  await mkdir(broken);
  await writeFile(join(broken, "a.png"), await readFile(join(folder, "photos/apples/0.png")));
  await writeFile(join(broken, "b.png"), "not a picture");
  const { status, stderr } = await run(broken, "--out", join(folder, "broken.npy"), "--batch", "1");
  expect(status).toBe(2);
  expect(stderr.trimEnd().split("\n").at(-1)).toMatch(/^aligntok: .*b\.png/);
  const left = async () => (await readdir(folder)).filter((name) => name.includes("broken.npy"));
  expect((await left()).sort()).toEqual(["broken.npy.part", "broken.npy.part.json"]);
  const other = await run(broken, "--out", join(folder, "broken.npy"), "--pool", "cls");
  expect(other).toMatchObject({ status: 2 });
  expect(other.stderr).toMatch(/of another run\. add --restart/);
  const args = [broken, "--out", join(folder, "broken.npy"), "--on-error", "skip", "--json"];
  // the weights of another encoder of equal shapes in the same place
  const weights = join(folder, "encoder", "model.safetensors");
  await rename(weights, `${weights}.first`);
  const replaced = createEncoder(config, createRandom(3, "encoder"));
  await saveEncoder(join(folder, "replaced"), replaced);
  await copyFile(join(folder, "replaced", "model.safetensors"), weights);
  replaced.dispose();
  const mixed = await run(...args);
  expect(mixed).toMatchObject({ status: 2 });
  expect(mixed.stderr).toMatch(/of another run\. add --restart/);
  await rename(`${weights}.first`, weights);
  const second = await run(...args);
  expect(second.stderr).toMatch(/going on after 1 of 2 images/);
  expect(JSON.parse(second.stdout)).toMatchObject({
    shape: [1, 5, 16],
    skipped: { "bad-format": 1 },
  });
  expect(await left()).toEqual(["broken.npy"]);
});

test("Ctrl-C ends with 130, and the same command goes on to the same bytes", async () => {
  const many = join(folder, "many");
  await mkdir(many);
  const bytes = await readFile(join(folder, "photos/apples/0.png"));
  for (let i = 0; i < 48; i++) await writeFile(join(many, `${i}.png`), bytes);
  const command = (out: string) => [
    ...["features", "--encoder", join(folder, "encoder"), "--images", many, "--engine"],
    ...["reference", "--size", "160", "--batch", "4", "--pool", "cls", "--out", join(folder, out)],
  ];
  const { status, stderr } = await aligntok(command("many.npy"), (child, text) => {
    if (/^features {2}\d+\/48/m.test(text) && !child.killed) child.kill("SIGINT");
  });
  expect(status).toBe(130);
  expect(stderr).toMatch(/^aligntok: .*(interrupted|aborted)/m); // between batches, or while reading one
  const left = (await readdir(folder)).filter((name) => name.includes("many.npy"));
  expect(left.sort()).toEqual(["many.npy.part", "many.npy.part.json"]);
  const second = await aligntok(command("many.npy"));
  expect(second.stderr).toMatch(/going on after [1-9]\d* of 48 images/);
  expect(await aligntok(command("whole.npy"))).toMatchObject({ status: 0 });
  expect(await readFile(join(folder, "many.npy"))).toEqual(
    await readFile(join(folder, "whole.npy")),
  );
});

test("a picture that cannot be written ends the run before its rows are computed", async () => {
  const out = join(folder, "unpictured.npy");
  const nowhere = join(folder, "nowhere", "pca.png");
  const { status, stderr } = await run(join(folder, "photos"), "--out", out, "--pca", nowhere);
  expect(status).toBe(2);
  expect(stderr).toMatch(/nowhere.*expected an existing folder to write into, got none\. make it/);
  expect((await readdir(folder)).filter((name) => name.includes("unpictured"))).toEqual([]);
});

test("layers, pooling without the normalisation, skipped images and a PCA picture", async () => {
  const some = join(folder, "some");
  await mkdir(some);
  await writeFile(join(some, "a.png"), await readFile(join(folder, "photos/apples/0.png")));
  await writeFile(join(some, "b.png"), "not a picture");
  await writeFile(join(some, "c.png"), await readFile(join(folder, "photos/apples/1.png")));
  const args = ["--layer", "0,-1", "--pool", "mean", "--no-norm", "--on-error", "skip", "--json"];
  const picture = join(folder, "pca.png");
  for (const out of [join(folder, "layers.npy"), join(folder, "layers.safetensors")]) {
    const { status, stdout, stderr } = await run(some, ...args, "--out", out, "--pca", picture);
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect(JSON.parse(stdout)).toMatchObject({ shape: [2, 2, 16], skipped: { "bad-format": 1 } });
    expect(stderr).toMatch(/left out: .*b\.png/);
  }
  const { tensors, metadata } = await readSafetensors(join(folder, "layers.safetensors"));
  expect(JSON.parse(metadata.keys!)).toEqual(["a.png", "c.png"]);
  const layers = await encoder.features(rows(images, 0, 2), {
    layer: [0, 1],
    pool: "mean",
    norm: false,
  });
  const values = tensors.features!.data as Float32Array;
  for (const [l, { data }] of layers.entries()) {
    for (let i = 0; i < 2; i++) {
      const row = values.subarray((i * 2 + l) * 16, (i * 2 + l + 1) * 16);
      for (const [j, value] of row.entries()) expect(value).toBeCloseTo(data[i * 16 + j]!, 5);
    }
  }
  const bytes = await readFile(join(folder, "layers.npy"));
  expect(bytes.toString("latin1", 0, 128)).toContain("'shape': (2, 2, 16), }");
  expect(new Float32Array(bytes.buffer.slice(bytes.byteOffset + 128))).toEqual(values);
  const sheet = await readImage(picture);
  expect(sheet.shape).toEqual([size + 8, 4 * size + 20, 3]);
});
