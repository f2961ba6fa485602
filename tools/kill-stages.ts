/**
 * Kills a small training of all three stages at random moments and compares the end with an uninterrupted run's.
 *
 *     node --import tsx --conditions=@aligntok/source tools/kill-stages.ts [--kills 20] [--steps 10] [--seed N]
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createRandom } from "@aligntok/core";
import { killAndResume, readResult } from "../packages/aligntok/test/kill-and-resume.ts";

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "20" },
    steps: { type: "string", default: "10" }, // at most before each kill: 20 of them spread over all stages
    seed: { type: "string", default: String(Date.now()) },
  },
});
const [kills, steps, seed] = [values.kills, values.steps, values.seed].map(Number) as [
  number,
  number,
  number,
];

const root = await mkdtemp(join(tmpdir(), "kill-stages-"));
try {
  const [whole, killed] = [join(root, "whole"), join(root, "killed")];
  const random = createRandom(seed, "kills");
  await killAndResume(whole, { kills: 0, steps, random });
  const count = await killAndResume(killed, { kills, steps, random });
  const [expected, actual] = [await readResult(whole), await readResult(killed)];
  const alike = expected.every((bytes, i) => bytes.equals(actual[i]!));
  console.log(
    `killed ${count} times (seed ${seed}): final weights ${alike ? "equal to the bit" : "DIFFER"}`,
  );
  process.exitCode = alike ? 0 : 1;
} finally {
  await rm(root, { recursive: true, force: true });
}
