import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeSafetensors } from "@aligntok/checkpoint";
import { createRandom, ndarray } from "@aligntok/core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { formatRowMetadata } from "../src/row-metadata.ts";
import { aligntok } from "./command-line.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-probe-"));
});
afterAll(() => rm(folder, { recursive: true }));

test("eval probe takes classes of --test by their names, and refuses those that it was not fitted to", async () => {
  const kinds = { apples: [9, 0], nuts: [0, 9], pears: [-9, -9] } as const;
  const random = createRandom(4, "kinds");
  const write = async (
    name: string,
    labels: readonly number[],
    content: { readonly classes: readonly string[]; readonly named?: boolean },
  ) => {
    const { classes, named = true } = content;
    const centres = labels.map((label) => kinds[classes[label] as keyof typeof kinds] ?? [0, 0]);
    const features = Float32Array.from(centres.flat(), (x) => x + random.normal());
    const out = join(folder, `${name}.safetensors`);
    await writeSafetensors(
      out,
      {
        features: ndarray(features, [labels.length, 2]),
        labels: ndarray(Int32Array.from(labels), [labels.length], "int32"),
      },
      { metadata: named ? formatRowMetadata({ classes }) : {} },
    );
    return out;
  };
  const all = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2];
  const train = await write("train", all, { classes: ["apples", "nuts", "pears"] });
  const probe = (test: string, ...args: string[]) =>
    aligntok(["eval", "probe", "--features", train, "--test", test, "--json", ...args]);

  // of the held-out images none is an apple, so their folders count from another one
  const some = await write("some", [0, 1, 1], { classes: ["nuts", "pears"] });
  const { status, stdout, stderr } = await probe(some);
  expect({ status, stderr }).toMatchObject({ status: 0 });
  expect(stderr).not.toContain("no names of classes");
  expect(JSON.parse(stdout).best).toMatchObject({ trainTop1: 1, top1: 1 });

  const nameless = await write("nameless", [0, 1, 1], {
    ...{ classes: ["nuts", "pears"], named: false },
  });
  const byIndex = await probe(nameless);
  expect(byIndex.stderr).toMatch(/nameless\.safetensors: no names of classes, so their indices/);
  expect(JSON.parse(byIndex.stdout).best).toMatchObject({ top1: 0 });
  const lines = join(folder, "kinds.txt");
  await writeFile(lines, "nuts\npears\npears\n");
  const byLines = await probe(nameless, "--test-labels", lines);
  expect(JSON.parse(byLines.stdout).best).toMatchObject({ top1: 1 });

  const others = await write("others", [0, 1], { classes: ["pears", "plums"] });
  const refused = await probe(others);
  expect(refused.status).toBe(2);
  expect(refused.stderr).toMatch(
    /others\.safetensors: expected classes .*\(apples, nuts, pears\), got plums\. leave their images out/,
  );
  const unlabelled = await probe(await write("unlabelled", [0, -1], { classes: ["pears"] }));
  expect(unlabelled.status).toBe(2);
  expect(unlabelled.stderr).toMatch(/expected a class of image 1, got -1\. give --test-labels/);
});
