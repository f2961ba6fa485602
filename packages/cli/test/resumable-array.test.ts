import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readSafetensors } from "@aligntok/checkpoint";
import { ndarray } from "@aligntok/core";
import { createListDataset } from "@aligntok/data-laion";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type RowStream, writeResumableArray } from "../src/resumable-array.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-resumable-"));
});
afterAll(() => rm(folder, { recursive: true }));

const dataset = createListDataset(
  ["a", "b", "c"].map((key) => ({ key, read: async () => new Uint8Array() })),
);
const log = { debug() {}, info() {}, warn() {} };
const started: number[] = [];

/** Rows `[place, 10 place]` of six places, without those of `without`; fails at place `end`. */
function streamOf(without: readonly number[], end = 6): (start: number) => RowStream {
  return (start) => {
    started.push(start);
    return { batches: rowsFrom(start, without, end), skipped: () => ({}) };
  };
}

async function* rowsFrom(start: number, without: readonly number[], end: number) {
  for (let place = start; place < 6; place++) {
    if (place === end) throw new Error("interrupted");
    if (without.includes(place)) continue;
    yield { indices: [place], rows: ndarray(Float32Array.of(place, 10 * place), [1, 2]) };
  }
}

const write = (name: string, stream: (start: number) => RowStream, classes?: readonly string[]) =>
  writeResumableArray(join(folder, name), stream, {
    ...{ identity: "run", dataset: { ...dataset, ...(classes && { classes }) } },
    ...{ task: "test", name: "first", twin: "second" },
    session: { log, onProgress() {} } as never,
  });

test("a twin array follows the first, and an interruption in it is gone on with", async () => {
  await expect(write("twin.safetensors", streamOf([1, 4], 5))).rejects.toThrow("interrupted");
  const { shape } = await write("twin.safetensors", streamOf([1, 4]));
  expect(started).toEqual([0, 4]);
  expect(shape).toEqual([2, 2]);
  const { tensors, metadata } = await readSafetensors(join(folder, "twin.safetensors"));
  expect(JSON.parse(metadata.keys!)).toEqual(["a", "c"]);
  expect(tensors.first!.data).toEqual(Float32Array.of(0, 0, 2, 20));
  expect(tensors.second!.data).toEqual(Float32Array.of(3, 30, 5, 50));
});

test("a part of other classes is not gone on with", async () => {
  await expect(write("classes.safetensors", streamOf([], 5), ["x"])).rejects.toThrow("interrupted");
  await expect(write("classes.safetensors", streamOf([]), ["other"])).rejects.toThrow("--restart");
  await write("classes.safetensors", streamOf([]), ["x"]);
  const { tensors, metadata } = await readSafetensors(join(folder, "classes.safetensors"));
  expect(metadata.classes).toBe('{"0":"x"}');
  expect(tensors.second!.data).toEqual(Float32Array.of(3, 30, 4, 40, 5, 50));
});

test("images that one pass reads and the other does not are an error", async () => {
  await expect(write("other.safetensors", streamOf([1]))).rejects.toThrow("both passes");
});

/** Six places, of which 2, 3 and 5 cannot be read: found out one after the other, and before the next row. */
const six = createListDataset(
  Array.from({ length: 6 }, (_, i) => ({
    key: `${i}`,
    label: i % 2,
    read: async () => new Uint8Array(),
  })),
);

/** A stream of its images that fails at place `end`. */
function streamOfSix(end?: number): (start: number) => RowStream {
  return (start) => {
    let left = 0;
    async function* batches() {
      for (let place = start; place <= 6; place++) {
        if (place === end) throw new Error("interrupted");
        if (place === 2 || place === 3 || place === 5) left++;
        else if (place < 6) {
          yield { indices: [place], rows: ndarray(Float32Array.of(place, -place, 0.1), [1, 3]) };
        }
      }
    }
    started.push(start);
    return { batches: batches(), skipped: () => (left ? { "bad-format": left } : {}) };
  };
}

const writeSix = (name: string, end?: number) =>
  writeResumableArray(join(folder, name), streamOfSix(end), {
    ...{ identity: "six", dataset: six, task: "test", labels: six.labels! },
    session: { log, onProgress() {} } as never,
  });

test.each(["npy", "safetensors", "parquet"])(
  "%s has the same bytes wherever it was interrupted, and what was left out is counted once",
  async (ending) => {
    const result = { shape: [3, 3], skipped: { "bad-format": 3 } };
    expect(await writeSix(`whole.${ending}`)).toEqual(result);
    const whole = await readFile(join(folder, `whole.${ending}`));
    for (const end of [1, 2, 3, 4, 5, 6]) {
      await expect(writeSix(`${end}.${ending}`, end)).rejects.toThrow("interrupted");
      started.length = 0;
      expect(await writeSix(`${end}.${ending}`)).toEqual(result);
      expect(started).toEqual([[0, 1, 2, 2, 2, 5, 5][end]]);
      expect(await readFile(join(folder, `${end}.${ending}`))).toEqual(whole);
    }
    const names = await readdir(folder);
    expect(names.filter((name) => name.includes(`.${ending}.part`) && /^\d/.test(name))).toEqual(
      [],
    );
  },
);

test("a file that cannot take its name is finished by the next run, without an image", async () => {
  const path = join(folder, "taken.npy");
  await mkdir(join(path, "by a folder"), { recursive: true });
  await expect(writeSix("taken.npy")).rejects.toMatchObject({ code: "io" });
  await rm(path, { recursive: true });
  started.length = 0;
  expect(await writeSix("taken.npy")).toEqual({ shape: [3, 3], skipped: { "bad-format": 3 } });
  expect(started).toEqual([6]);
});
