/** `aligntok features` as a process, on every kind of encoder and of images, against transformers. */
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readNpy, readSafetensors, writeSafetensors } from "@aligntok/checkpoint";
import { type Images, type NdArray, ndarray, type Parameters, rows, zeros } from "@aligntok/core";
import { vitModels, vitShapes } from "@aligntok/encoders";
import { encodePng } from "@aligntok/image";
import { writePytorch } from "@aligntok/testing";
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createImageArchive } from "../src/image-archive.ts";
import { aligntok } from "./command-line.ts";

const families = fileURLToPath(new URL("../../encoders/test/fixtures/", import.meta.url));
const formulaFile = fileURLToPath(
  new URL("./fixtures/vit-tiny-formula.safetensors", import.meta.url),
);

/** The images of tools/golden/encoders-vit.py. */
function formulaImages(side: number): Images {
  const images = zeros([2, side, side, 3], "uint8");
  images.data.forEach((_, at) => {
    const [c, x, y, i] = [
      at % 3,
      Math.floor(at / 3) % side,
      Math.floor(at / (3 * side)) % side,
      Math.floor(at / (3 * side * side)),
    ];
    images.data[at] = (y * 37 + x * 91 + c * 13 + i * 57 + y * x * 5) % 256;
  });
  return images;
}

/** The weights of tools/golden/encoders-lone-file.py, under timm's names. */
function formulaWeights(): Parameters {
  const shapes = vitShapes({ ...vitModels.vit_tiny_patch16_224, classes: 0 });
  return Object.fromEntries(
    Object.entries(shapes).map(([name, shape], k) => {
      const isNorm = /norm\d?\.weight$/.test(name);
      const array = zeros(shape);
      for (let i = 0; i < array.data.length; i++) {
        array.data[i] = (((i * 7919 + k * 263) % 2003) / 2003 - 0.5) * 0.08 + Number(isNorm);
      }
      return [name, array];
    }),
  );
}

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-sources-"));
  for (const side of [32, 35, 224]) {
    const images = formulaImages(side);
    for (const [i, name] of ["a", "b"].entries()) {
      const path = join(folder, String(side), name);
      await mkdir(path, { recursive: true });
      const { data } = rows(images, i, i + 1);
      await writeFile(
        join(path, "x.png"),
        await encodePng(ndarray(data, [side, side, 3], "uint8")),
      );
    }
  }
});
afterAll(() => rm(folder, { recursive: true }));

async function features(args: readonly string[], env?: Record<string, string>): Promise<void> {
  const all = ["features", "--threads", "1", "--json", ...args];
  const { status, stderr } = await aligntok(all, undefined, env);
  expect({ status, stderr }).toMatchObject({ status: 0 });
}

function expectClose(actual: NdArray, expected: NdArray): void {
  expect(actual.shape).toEqual(expected.shape);
  const [a, b] = [actual.data as Float32Array, expected.data as Float32Array];
  expect(a.every((x, i) => Math.abs(x - b[i]!) <= 2e-4)).toBe(true);
}

describe.concurrent("the Hugging Face folder of", () => {
  test.each([
    ["dinov2", 35],
    ["dinov2-with-registers", 35],
    ["dinov3", 32],
    ["siglip", 32],
    ["mae", 32],
    ["clip", 32],
    ["vit", 32],
  ])("%s", async (name, side) => {
    const encoder = join(families, name);
    const out = join(folder, `${name}.npy`);
    await features(["--encoder", encoder, "--images", join(folder, `${side}`), "--out", out]);
    const { tensors } = await readSafetensors(join(encoder, "golden.safetensors"));
    expectClose(await readNpy(out), tensors[`tokens/${side}x${side}`]!);
  });
});

describe("a lone file with --model", () => {
  test.each([
    ["vit.pth", writePytorch],
    ["vit.safetensors", writeSafetensors],
  ] as const)("%s", async (name, write) => {
    const path = join(folder, name);
    await write(path, formulaWeights());
    const out = join(folder, `${name}.npy`);
    await features([
      ...["--encoder", path, "--model", "vit_tiny_patch16_224", "--images", join(folder, "224")],
      ...["--size", "224", "--pool", "cls", "--out", out],
    ]);
    const { tensors } = await readSafetensors(formulaFile);
    expectClose(await readNpy(out), tensors.cls!);
  });
});

test("a name in the cache of Hugging Face, into Parquet", async () => {
  const repository = join(folder, "home", "hub", "models--facebook--dinov2-small");
  await mkdir(join(repository, "refs"), { recursive: true });
  await writeFile(join(repository, "refs", "main"), "abc123");
  await cp(join(families, "dinov2"), join(repository, "snapshots", "abc123"), { recursive: true });
  const out = join(folder, "cached.parquet");
  await features(
    ["--encoder", "facebook/dinov2-small", "--images", join(folder, "35"), "--out", out],
    { HF_HOME: join(folder, "home") },
  );
  const { tensors } = await readSafetensors(join(families, "dinov2", "golden.safetensors"));
  const expected = tensors["tokens/35x35"]!;
  const file = await asyncBufferFromFile(out);
  const { key_value_metadata } = await parquetMetadataAsync(file);
  expect(key_value_metadata).toEqual([
    { key: "shape", value: JSON.stringify(expected.shape.slice(1)) },
  ]);
  const table = await parquetReadObjects({ file });
  expect(table.map(({ key, label }) => [key, label])).toEqual([
    ["a/x.png", 0],
    ["b/x.png", 1],
  ]);
  const values = table.flatMap(({ features }) => features as number[]);
  expectClose(ndarray(Float32Array.from(values), expected.shape), expected);
});

test("the images of an npz file", async () => {
  const path = join(folder, "images.npz");
  const images = formulaImages(32);
  const archive = await createImageArchive(path, images.shape);
  await archive.append(images);
  await archive.finish(Int32Array.of(0, 1));
  const out = join(folder, "npz.npy");
  await features([
    "--encoder",
    join(families, "clip"),
    "--images",
    path,
    "--pool",
    "embedding",
    "--out",
    out,
  ]);
  const { tensors } = await readSafetensors(join(families, "clip", "golden.safetensors"));
  expectClose(await readNpy(out), tensors["embedding/32x32"]!);
});
