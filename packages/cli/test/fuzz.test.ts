import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "../../..");

test("damaged files of every format are read or refused (npm run fuzz, a short run)", async () => {
  const node = ["--import", "tsx", "--conditions=@aligntok/source"];
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [...node, "tools/fuzz.ts", "--count", "140", "--seed", "5"],
    { cwd: root },
  );
  expect(stdout).toContain("140 files, seed 5: 0 failures");
  for (const format of [".safetensors", ".npy", ".npz", ".pt", ".pb", ".xml", ".png"]) {
    expect(stdout).toContain(format);
  }
});
