import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeNpy, writeSafetensors } from "@aligntok/checkpoint";
import { concatRows, createRandom, float32ToFloat16, ndarray, rows } from "@aligntok/core";
import { permuteLatents, readLatents, writeLatents } from "@aligntok/diffusion";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readPooledRows } from "../src/eval/pooled-rows.ts";
import { openRowFile, type RowFile } from "../src/row-file.ts";
import { formatRowMetadata, parseRowMetadata } from "../src/row-metadata.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-rows-"));
});
afterAll(() => rm(folder, { recursive: true }));

const random = createRandom(1, "rows");
const latents = ndarray(random.normals(7 * 3 * 2 * 4), [7, 3, 2, 4]);
const session = { signal: new AbortController().signal, onProgress: () => {} };

async function readAll(file: RowFile, size: number) {
  const batches = [];
  for await (const batch of file.batches(size)) batches.push(batch);
  for (const { shape } of batches) expect(shape[0]).toBeLessThanOrEqual(size);
  return concatRows(batches);
}

test("LightningDiT's shards are one file of latents with labels, in the order of their names", async () => {
  const shards = join(folder, "shards");
  await mkdir(shards);
  const labels = Int32Array.of(4, 3, 2, 1, 0, 1, 2);
  for (const [name, start, end] of [
    ["a", 0, 4],
    ["b", 4, 7],
  ] as const) {
    const part = rows(latents, start, end);
    const set = { latents: part, flipped: part, labels: labels.slice(start, end) };
    await writeLatents(join(shards, `${name}.safetensors`), set);
  }
  const file = await openRowFile(shards);
  expect(file.shape).toEqual([7, 3, 2, 4]);
  expect(file.labels).toEqual(labels);
  expect(file.keys).toBeUndefined();
  for (const size of [1, 3, 100]) expect(await readAll(file, size)).toEqual(latents);
  expect((await readLatents(shards)).latents).toEqual(latents);

  const odd = ndarray(random.normals(3 * 3 * 3 * 4), [3, 3, 3, 4]);
  await writeLatents(join(shards, "c.safetensors"), { latents: odd, labels: labels.slice(0, 3) });
  await expect(openRowFile(shards)).rejects.toThrow("rows of shape [3,2,4] like the first shard");
});

test("half precision is widened, and names in the metadata are read where they are a list of them", async () => {
  const path = join(folder, "half.safetensors");
  const planes = permuteLatents(latents, "nchw");
  const half = ndarray(float32ToFloat16(planes.data), planes.shape, "float16");
  for (const [keys, wanted] of [
    [JSON.stringify([..."abcdefg"]), [..."abcdefg"]],
    [JSON.stringify([..."abc"]), undefined],
    ["not JSON", undefined],
  ] as const) {
    await writeSafetensors(path, { latents: half }, { metadata: { keys } });
    expect((await openRowFile(path)).keys).toEqual(wanted);
  }
  const { data } = await readAll(await openRowFile(path), 2);
  for (const [i, value] of data.entries()) expect(value).toBeCloseTo(latents.data[i]!, 2);
});

test("metadata comes back as it was, and other writers' as nothing", () => {
  const content = {
    keys: ["a", "b"],
    classes: ["apples", "pears"],
    imageSize: [16, 43],
    tokenizer: { model: "taef2", stride: 8 },
  } as const;
  const metadata = formatRowMetadata(content);
  expect(metadata.classes).toBe('{"0":"apples","1":"pears"}');
  expect(parseRowMetadata(metadata)).toEqual({ ...content, classes: { 0: "apples", 1: "pears" } });
  const others = { keys: "3", classes: '["a"]', image_size: "[1]", tokenizer: '{"model":"x"}' };
  expect(parseRowMetadata({ format: "pt", ...others })).toEqual({});
});

test("files of a folder are of the same classes", async () => {
  const path = join(folder, "classed");
  await mkdir(path);
  const write = (name: string, label: number, className: string) => {
    const labels = ndarray(BigInt64Array.of(BigInt(label)), [1], "int64");
    return writeSafetensors(
      join(path, `${name}.safetensors`),
      { features: rows(ndarray(latents.data, [7, 24]), label, label + 1), labels },
      { metadata: formatRowMetadata({ classes: { [label]: className } }) },
    );
  };
  await write("a", 1, "pears");
  await write("b", 0, "apples");
  expect(await openRowFile(path)).toMatchObject({
    labels: Int32Array.of(1, 0),
    classes: { 0: "apples", 1: "pears" },
  });
  await write("c", 1, "nuts");
  await expect(openRowFile(path)).rejects.toThrow(
    /c\.safetensors: expected class 1 to be pears .*, got nuts\. encode/,
  );
});

test("vectors and tokens come from npy and safetensors, and are averaged", async () => {
  const path = join(folder, "vectors.npy");
  await writeNpy(path, ndarray(latents.data, [7, 24]));
  expect(await readAll(await openRowFile(path), 4)).toEqual(ndarray(latents.data, [7, 24]));

  const tokens = join(folder, "tokens.safetensors");
  await writeSafetensors(tokens, { features: ndarray(latents.data, [7, 6, 4]) });
  const { features } = await readPooledRows(tokens, session);
  expect(features.shape).toEqual([7, 4]);
  let mean = 0;
  for (let t = 0; t < 6; t++) mean += latents.data[24 + t * 4 + 1]! / 6;
  expect(features.data[4 + 1]).toBeCloseTo(mean, 6);
});

test("classes from a text file are indices or names", async () => {
  const path = join(folder, "named.safetensors");
  await writeSafetensors(path, { features: ndarray(latents.data, [7, 24]) });
  const file = join(folder, "classes.txt");
  const read = async (lines: readonly string[]) => {
    await writeFile(file, `${lines.join("\n")}\n`);
    return (await readPooledRows(path, session, file)).labels;
  };
  expect(await read([..."3012301"])).toEqual(Int32Array.of(3, 0, 1, 2, 3, 0, 1));
  expect(await read(["rose", "daisy", "rose", "tulip", "daisy", "rose", "1"])).toEqual(
    Int32Array.of(2, 1, 2, 3, 1, 2, 0),
  );
  await expect(read([..."301"])).rejects.toThrow("expected 7 lines");
  await expect(read([..."301 301"])).rejects.toThrow("a class on line 4");
});

test("files of several layers, or of weights, are refused with what they hold", async () => {
  const path = join(folder, "other.safetensors");
  await writeSafetensors(path, { features: latents });
  await expect(openRowFile(path)).rejects.toThrow("got features [7,3,2,4]");
  const vector = ndarray(latents.data, [168]);
  await writeSafetensors(path, { "a.weight": latents, "a.bias": vector });
  await expect(openRowFile(path)).rejects.toThrow(/got a\.(weight|bias) .*aligntok encode/);
});
