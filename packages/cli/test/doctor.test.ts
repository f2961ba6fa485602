import { expect, test } from "vitest";
import { aligntok } from "./command-line.ts";

interface Part {
  readonly name: string;
  readonly available: boolean;
  readonly detail: string;
}

test("doctor names every engine and device, and says what is wrong with those that do not work", async () => {
  const { status, stdout, stderr } = await aligntok(["doctor", "--json"]);
  expect(status).toBe(0);
  expect(stderr).toBe(""); // drivers that were tried out do not talk
  const { engines } = JSON.parse(stdout) as { engines: Part[] };
  expect(engines.map(({ name }) => name)).toEqual([
    "onnxruntime",
    "onnxruntime on cpu",
    "onnxruntime on webgpu",
    "onnxruntime on cuda",
    "tensorflow",
    "reference",
  ]);
  for (const name of ["onnxruntime", "onnxruntime on cpu", "reference"]) {
    expect(engines.find((part) => part.name === name)).toMatchObject({ available: true });
  }
  for (const { available, detail } of engines) {
    if (!available) expect(detail).toMatch(/^.{10,}\. .{10,}/); // the reason, and what to do
  }

  const { stdout: text } = await aligntok(["doctor"]);
  for (const { name, available, detail } of engines) {
    expect(text).toContain(`${available ? "ok " : "-- "} ${name.padEnd(24)} ${detail}`);
  }
});
