import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRandom } from "@aligntok/core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { killAndResume, readResult } from "./kill-and-resume.ts";
import { trainThreeStages } from "./three-stages.ts";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "killed-stages-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

it("three stages end in the same bits, killed at random moments or not", async () => {
  const [whole, interrupted] = [join(root, "whole"), join(root, "killed")];
  await trainThreeStages(whole, () => {});
  const random = createRandom(Date.now(), "kills");
  const killed = await killAndResume(interrupted, { kills: 3, steps: 40, random });
  expect(killed).toBeGreaterThan(0);
  expect(await readResult(interrupted)).toEqual(await readResult(whole));
}, 120_000);
