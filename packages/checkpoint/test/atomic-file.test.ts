import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import * as fs from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AlignTokError, zeros } from "@aligntok/core";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { readSafetensors, writeFileAtomic, writeSafetensors } from "../src/index.ts";

vi.mock("node:fs/promises", async (importOriginal) => {
  const original = await importOriginal<typeof fs>();
  return { ...original, open: vi.fn(original.open), rename: vi.fn(original.rename) };
});

let folder: string;
beforeEach(async () => {
  folder = await fs.mkdtemp(join(tmpdir(), "checkpoint-"));
});
afterEach(() => fs.rm(folder, { recursive: true }));

async function failure(promise: Promise<unknown>): Promise<AlignTokError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(AlignTokError.isInstance(error), String(error)).toBe(true);
  return error as AlignTokError;
}

/** What the operating system throws. */
function systemError(code: string, message: string): Error {
  return Object.assign(new Error(`${code}: ${message}`), { code });
}

describe("writeFileAtomic", () => {
  test("writes text and bytes, replaces, and leaves nothing else", async () => {
    const path = join(folder, "a.txt");
    await writeFileAtomic(path, "größer");
    expect(readFileSync(path, "utf8")).toBe("größer");
    await writeFileAtomic(path, Uint8Array.of(1, 2, 3).subarray(1));
    expect([...readFileSync(path)]).toEqual([2, 3]);
    await writeFileAtomic(path, "");
    expect(readFileSync(path).length).toBe(0);
    expect(readdirSync(folder)).toEqual(["a.txt"]);
  });

  test("two writers at once: one of them wins whole", async () => {
    const path = join(folder, "a.bin");
    const contents = [1, 2, 3, 4].map((value) => new Uint8Array(100_000).fill(value));
    await Promise.all(contents.map((content) => writeFileAtomic(path, content)));
    expect(new Set(readFileSync(path)).size).toBe(1);
    expect(readdirSync(folder)).toEqual(["a.bin"]);
  });

  test("an absent folder", async () => {
    const error = await failure(writeFileAtomic(join(folder, "no", "a.txt"), "a"));
    expect(error.code).toBe("not-found");
    expect(error.message).toContain("a.txt: expected an existing folder to write into");
  });

  test("a folder of that name", async () => {
    await fs.mkdir(join(folder, "taken"));
    const error = await failure(writeFileAtomic(join(folder, "taken"), "a"));
    expect(error.code).toBe("io");
    expect(error.message).toContain(join(folder, "taken"));
    expect(readdirSync(folder)).toEqual(["taken"]);
  });

  test("no permission", async () => {
    vi.mocked(fs.open).mockRejectedValueOnce(systemError("EACCES", "permission denied"));
    const error = await failure(writeFileAtomic(join(folder, "a.txt"), "a"));
    expect(error.code).toBe("io");
    expect(error.message).toMatch(/a\.txt: EACCES: permission denied\. check the permissions/);
  });

  test("a full disk keeps the former file and removes the temporary one", async () => {
    const path = join(folder, "a.txt");
    await writeFileAtomic(path, "former");
    const { open } = await vi.importActual<typeof fs>("node:fs/promises");
    vi.mocked(fs.open).mockImplementationOnce(async (...args) => {
      const file = await open(...args);
      await file.write("half"); // the part that still fitted
      file.write = () => Promise.reject(systemError("ENOSPC", "no space left on device"));
      return file;
    });
    const error = await failure(writeFileAtomic(path, "latter"));
    expect(error.code).toBe("io");
    expect(error.message).toContain(
      `write ${path}: ENOSPC: no space left on device. free some space`,
    );
    expect(readdirSync(folder)).toEqual(["a.txt"]);
    expect(readFileSync(path, "utf8")).toBe("former");
  });

  test("the data is on the disk before the file takes its name", async () => {
    const { open, rename } = await vi.importActual<typeof fs>("node:fs/promises");
    const calls: string[] = [];
    vi.mocked(fs.open).mockImplementationOnce(async (...args) => {
      const file = await open(...args);
      const sync = file.sync.bind(file);
      file.sync = () => {
        calls.push("sync");
        return sync();
      };
      return file;
    });
    vi.mocked(fs.rename).mockImplementationOnce((from, to) => {
      calls.push("rename");
      return rename(from, to);
    });
    await writeFileAtomic(join(folder, "a.txt"), "a");
    expect(calls).toEqual(["sync", "rename"]);
  });
});

test("a process killed while it writes leaves the former file or the latter, whole", async () => {
  const path = join(folder, "w.safetensors");
  await writeSafetensors(path, { w: zeros([1 << 20]) }, { metadata: { step: "0" } });
  const writer = `
    import { writeSafetensors } from "@aligntok/checkpoint";
    import { zeros } from "@aligntok/core";
    for (let step = 1; ; step++) {
      const w = zeros([1 << 20]);
      w.data.fill(step);
      await writeSafetensors(${JSON.stringify(path)}, { w }, { metadata: { step: String(step) } });
    }`;
  const options = ["--import", "tsx", "--conditions=@aligntok/source", "--input-type=module"];
  const child = spawn(process.execPath, [...options, "-e", writer], {
    cwd: join(import.meta.dirname, ".."),
    stdio: ["ignore", "ignore", "inherit"],
  });
  const exited = once(child, "exit");
  const step = async () => Number((await readSafetensors(path)).metadata.step);
  while (child.exitCode === null && (await step()) < 3)
    await new Promise((resolve) => setTimeout(resolve, 20));
  expect(child.exitCode, "the writer ended by itself").toBe(null);
  child.kill("SIGKILL");
  await exited;
  expect(existsSync(path)).toBe(true);
  const { tensors, metadata } = await readSafetensors(path);
  expect(new Set(tensors.w!.data as Float32Array)).toEqual(new Set([Number(metadata.step)]));
});
