/**
 * Kills a small training of all three stages at random moments and compares the end with an uninterrupted run's.
 *
 *     node --import tsx --conditions=@aligntok/source tools/kill-stages.ts [--kills 20] [--within MILLISECONDS]
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
    within: { type: "string", default: "800" },
    seed: { type: "string", default: String(Date.now()) },
  },
});
const [kills, within, seed] = [values.kills, values.within, values.seed].map(Number);

const root = await mkdtemp(join(tmpdir(), "kill-stages-"));
try {
  const [whole, killed] = [join(root, "whole"), join(root, "killed")];
  const random = createRandom(seed!, "kills");
  await killAndResume(whole, { kills: 0, within: 0, random });
  const count = await killAndResume(killed, { kills: kills!, within: within!, random });
  const [expected, actual] = [await readResult(whole), await readResult(killed)];
  const alike = expected.every((bytes, i) => bytes.equals(actual[i]!));
  console.log(
    `killed ${count} times (seed ${seed}): final weights ${alike ? "equal to the bit" : "DIFFER"}`,
  );
  process.exitCode = alike ? 0 : 1;
} finally {
  await rm(root, { recursive: true, force: true });
}
