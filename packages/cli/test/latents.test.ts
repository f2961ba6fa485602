import { copyFile, mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type AlignedTokenizer,
  createTokenizer,
  initTokenizer,
  saveTokenizer,
} from "@aligntok/aligntok";
import { initAutoencoder, saveAutoencoder } from "@aligntok/aligntok/vae";
import { readSafetensors } from "@aligntok/checkpoint";
import { createRandom, type Images, ndarray, rows } from "@aligntok/core";
import { permuteLatents, readLatents } from "@aligntok/diffusion";
import { initViT } from "@aligntok/encoders";
import { encodePng, readImage, stackImages } from "@aligntok/image";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openTokenizerImages } from "../src/tokenizer-images.ts";
import { aligntok } from "./command-line.ts";
import { decoder, size, vit } from "./tiny-tokenizer.ts";

const names = ["apples/0.png", "apples/1.png", "pears/2.png", "pears/3.png", "pears/4.png"];

let folder = "";
let tokenizer: AlignedTokenizer;
let images: Images;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-latents-"));
  const weights = initTokenizer(
    {
      encoder: { config: vit, parameters: initViT(vit, createRandom(1, "vit")) },
      decoder,
      random: createRandom(1, "tokenizer"),
    },
    { imageSize: size },
  );
  await saveTokenizer(join(folder, "tokenizer"), weights);
  tokenizer = createTokenizer(weights);
  const random = createRandom(2, "images");
  const pixels = Uint8Array.from({ length: 5 * size * size * 3 }, () => random.integer(256));
  images = ndarray(pixels, [5, size, size, 3], "uint8");
  for (const kind of ["apples", "pears"]) {
    await mkdir(join(folder, "photos", kind), { recursive: true });
  }
  for (const [i, name] of names.entries()) {
    const image = ndarray(rows(images, i, i + 1).data, [size, size, 3], "uint8");
    await writeFile(join(folder, "photos", name), await encodePng(image));
  }
});
afterAll(async () => {
  tokenizer.dispose();
  await rm(folder, { recursive: true });
});

const encode = (out: string, ...args: string[]) =>
  aligntok([
    ...["encode", "--tokenizer", join(folder, "tokenizer"), "--images", join(folder, "photos")],
    ...["--out", out, "--batch", "2", "--json", ...args],
  ]);

test("encode writes what the tokenizer makes of each image, and decode brings it back under its name", async () => {
  const out = join(folder, "latents.safetensors");
  const { status, stdout, stderr } = await encode(out);
  expect({ status, stderr }).toMatchObject({ status: 0 });
  expect(JSON.parse(stdout)).toMatchObject({ out, shape: [5, 4, 2, 2], labels: true, skipped: {} });
  const { tensors, metadata } = await readSafetensors(out);
  expect(tensors.labels).toMatchObject({
    dtype: "int64",
    data: BigInt64Array.of(0n, 0n, 1n, 1n, 1n),
  });
  expect(JSON.parse(metadata.keys!)).toEqual(names);
  expect(JSON.parse(metadata.classes!)).toEqual({ 0: "apples", 1: "pears" });
  expect(JSON.parse(metadata.tokenizer!)).toEqual({ model: "aligntok", stride: 16 });
  const wanted = await tokenizer.encode(images);
  const { latents, labels } = await readLatents(out); // as training does
  expect(latents.shape).toEqual(wanted.shape);
  expect(largestDifference(latents.data, wanted.data)).toBeLessThan(1e-5);
  expect([...labels]).toEqual([0, 0, 1, 1, 1]);
  const planes = permuteLatents(wanted, "nchw");
  expect(tensors.latents!.shape).toEqual(planes.shape);
  expect(largestDifference(tensors.latents!.data as Float32Array, planes.data)).toBeLessThan(1e-5);

  const decoded = join(folder, "decoded");
  const back = await aligntok([
    ...["decode", "--tokenizer", join(folder, "tokenizer"), "--latents", out],
    ...["--out", decoded, "--batch", "2", "--json"],
  ]);
  expect(back).toMatchObject({ status: 0 });
  expect(JSON.parse(back.stdout)).toEqual({ out: decoded, images: 5, height: size, width: size });
  const files = (await readdir(decoded, { recursive: true })).filter((f) => f.endsWith(".png"));
  expect(files.map((file) => file.replaceAll("\\", "/")).sort()).toEqual(names);
  const written = stackImages(
    await Promise.all(names.map((name) => readImage(join(decoded, name)))),
  );
  expect(largestDifference(written.data, (await tokenizer.decode(wanted)).data)).toBeLessThan(2);
});

test("decode refuses latents of another tokenizer with as many channels", async () => {
  const config = { latent: 4, channels: 32, multipliers: [1, 2], blocks: 1 };
  const parameters = initAutoencoder(config, createRandom(0, "autoencoder"));
  await saveAutoencoder(join(folder, "autoencoder"), { config, parameters });
  const out = join(folder, "wrong");
  const { status, stdout, stderr } = await aligntok([
    ...["decode", "--tokenizer", join(folder, "autoencoder"), "--out", out],
    ...["--latents", join(folder, "latents.safetensors")],
  ]);
  expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
  expect(stderr).toMatch(
    /latents of autoencoder at stride 2, got those of aligntok at stride 16\. give --tokenizer/,
  );
  expect(await readdir(folder)).not.toContain("wrong");
});

test("an interrupted encode goes on where it was, and images that cannot be read are left out when asked", async () => {
  const out = join(folder, "some.safetensors");
  const path = join(folder, "photos", names[4]!);
  const image = ndarray(rows(images, 4, 5).data, [size, size, 3], "uint8");
  await writeFile(path, "not a picture");
  const broken = await encode(out);
  expect(broken.status).toBe(2);
  expect(broken.stderr).toMatch(/4\.png/);
  expect(await readdir(folder)).toContain("some.safetensors.part.json");
  await writeFile(path, await encodePng(image));
  const weights = join(folder, "tokenizer", "model.safetensors");
  await rename(weights, `${weights}.first`);
  await copyFile(`${weights}.first`, weights); // of another time, so perhaps of another tokenizer
  const mixed = await encode(out);
  expect(mixed.status).toBe(2);
  expect(mixed.stderr).toMatch(/of another run\. add --restart/);
  await rename(`${weights}.first`, weights);
  const whole = await encode(out);
  expect(whole).toMatchObject({ status: 0 });
  expect(whole.stderr).toContain("going on after 4 of 5 images");
  const { latents } = await readLatents(out);
  const wanted = (await tokenizer.encode(images)).data;
  expect(largestDifference(latents.data, wanted)).toBeLessThan(1e-5);

  const second = join(folder, "photos", names[1]!);
  await writeFile(second, "not a picture");
  const { status, stdout } = await encode(out, "--on-error", "skip");
  await writeFile(
    second,
    await encodePng(ndarray(rows(images, 1, 2).data, [size, size, 3], "uint8")),
  );
  expect(status).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ shape: [4, 4, 2, 2], skipped: { "bad-format": 1 } });
  const { metadata } = await readSafetensors(out);
  expect(JSON.parse(metadata.keys!)).toEqual(names.filter((_, i) => i !== 1));
  const kept = await readLatents(out);
  expect([...kept.labels]).toEqual([0, 1, 1, 1]);
  const row = wanted.length / 5;
  const expected = Float32Array.from([...wanted.slice(0, row), ...wanted.slice(2 * row)]);
  expect(largestDifference(kept.latents.data, expected)).toBeLessThan(1e-5);
});

test("--flip adds the latents of the mirror images", async () => {
  const out = join(folder, "flipped.safetensors");
  const { status, stdout, stderr } = await encode(out, "--flip");
  expect({ status, stderr }).toMatchObject({ status: 0 });
  expect(JSON.parse(stdout)).toMatchObject({ shape: [5, 4, 2, 2], flip: true });
  const { latents, flipped, labels } = await readLatents(out);
  const mirrored = images.data.slice();
  for (const [i, value] of images.data.entries()) {
    const x = Math.floor(i / 3) % size;
    mirrored[i + 3 * (size - 1 - 2 * x)] = value;
  }
  const wanted = await tokenizer.encode(ndarray(mirrored, images.shape, "uint8"));
  expect(largestDifference(flipped!.data, wanted.data)).toBeLessThan(1e-5);
  const plain = await tokenizer.encode(images);
  expect(largestDifference(latents.data, plain.data)).toBeLessThan(1e-5);
  expect([...labels]).toEqual([0, 0, 1, 1, 1]);
});

test("images of their own sizes are encoded to a file each and decoded to what they were", async () => {
  const photos = join(folder, "sizes");
  await mkdir(photos);
  const random = createRandom(3, "sizes");
  const photo = (height: number, width: number) =>
    ndarray(
      Uint8Array.from({ length: height * width * 3 }, () => random.integer(256)),
      [height, width, 3],
      "uint8",
    );
  const wide = photo(16, 43);
  await writeFile(join(photos, "wide.png"), await encodePng(wide));
  await writeFile(join(photos, "tall.png"), await encodePng(photo(64, 16)));
  const out = join(folder, "own");
  const encodeOwn = () =>
    aligntok([
      ...["encode", "--tokenizer", join(folder, "tokenizer"), "--images", photos],
      ...["--out", out, "--size", "own", "--max-size", "48", "--json"],
    ]);
  const { status, stdout, stderr } = await encodeOwn();
  expect({ status, stderr }).toMatchObject({ status: 0 });
  expect(JSON.parse(stdout)).toMatchObject({ images: 2, kept: 0, size: "own" });
  const { tensors, metadata } = await readSafetensors(join(out, "wide.safetensors"));
  expect(JSON.parse(metadata.image_size!)).toEqual([16, 43]);
  const padded = Uint8Array.from({ length: 16 * 48 * 3 }, (_, i) => {
    const [c, x, y] = [i % 3, Math.floor(i / 3) % 48, Math.floor(i / 144)];
    return wide.data[(y * 43 + Math.min(x, 42)) * 3 + c]!;
  });
  const wanted = permuteLatents(
    await tokenizer.encode(ndarray(padded, [1, 16, 48, 3], "uint8")),
    "nchw",
  );
  expect(tensors.latents!.shape).toEqual(wanted.shape);
  expect(largestDifference(tensors.latents!.data as Float32Array, wanted.data)).toBeLessThan(1e-5);
  expect(JSON.parse((await encodeOwn()).stdout)).toMatchObject({ images: 2, kept: 2 });

  const decoded = join(folder, "own-decoded");
  const back = await aligntok([
    ...["decode", "--tokenizer", join(folder, "tokenizer"), "--latents", out],
    ...["--out", decoded, "--json"],
  ]);
  expect(back).toMatchObject({ status: 0 });
  expect((await readImage(join(decoded, "wide.png"))).shape).toEqual([16, 43, 3]);
  expect((await readImage(join(decoded, "tall.png"))).shape).toEqual([48, 12, 3]);
});

test("latents of their own sizes are kept only where image and tokenizer are the same", async () => {
  const [trained, out] = [join(folder, "trained"), join(folder, "kept")];
  const save = async (seed: number) => {
    const weights = initTokenizer(
      {
        encoder: { config: vit, parameters: initViT(vit, createRandom(seed, "vit")) },
        decoder,
        random: createRandom(seed, "tokenizer"),
      },
      { imageSize: size },
    );
    await saveTokenizer(trained, weights);
  };
  const photos = async (name: string, picks: readonly number[]) => {
    const path = join(folder, name);
    await mkdir(path);
    for (const [i, pick] of picks.entries()) {
      await copyFile(join(folder, "photos", names[pick]!), join(path, `${i}.png`));
    }
    return path;
  };
  const [first, second] = [await photos("first", [0, 1]), await photos("second", [0, 2, 3])];
  const encodeOwn = async (path: string) => {
    const { stdout } = await aligntok([
      ...["encode", "--tokenizer", trained, "--images", path],
      ...["--out", out, "--size", "own", "--json"],
    ]);
    const latents = await Promise.all(
      [0, 1].map((i) => readSafetensors(join(out, `${i}.safetensors`))),
    );
    return { ...JSON.parse(stdout), latents: latents.map(({ tensors }) => tensors.latents!.data) };
  };
  await save(1);
  const before = await encodeOwn(first);
  expect(before).toMatchObject({ images: 2, kept: 0 });

  // the image that both folders have is kept, the other one of the same name is not
  const other = await encodeOwn(second);
  expect(other).toMatchObject({ images: 3, kept: 1 });
  expect(other.latents[0]).toEqual(before.latents[0]);
  expect(other.latents[1]).not.toEqual(before.latents[1]);

  await save(2);
  const retrained = await encodeOwn(second);
  expect(retrained).toMatchObject({ images: 3, kept: 0 });
  expect(retrained.latents[0]).not.toEqual(before.latents[0]);
});

test("images that are done are not decoded again", async () => {
  const photos = join(folder, "some-done");
  await mkdir(photos);
  await writeFile(join(photos, "0.png"), "not a picture");
  await copyFile(join(folder, "photos", names[1]!), join(photos, "1.png"));
  const choice = { images: [photos], crop: "center", onError: "raise", batch: 2 } as const;
  const { signal } = new AbortController();
  for (const shape of [{ size: "own" }, { size }] as const) {
    const { read } = await openTokenizerImages({ ...choice, ...shape }, size);
    const places = [];
    for await (const { indices } of read([0], { signal }).batches) places.push(...indices);
    expect(places).toEqual([1]);
  }
});

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  let most = 0;
  for (let i = 0; i < a.length; i++) most = Math.max(most, Math.abs(a[i]! - b[i]!));
  return most;
}
