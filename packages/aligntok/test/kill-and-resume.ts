/** Kills a training in a process of its own at random moments, until it is at its end. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Random } from "@aligntok/core";

const script = fileURLToPath(new URL("three-stages.ts", import.meta.url));

/** Runs to the end, or to SIGKILL a random part of `within` milliseconds after the first step; true at the end. */
async function runOnce(
  folder: string,
  kill?: { readonly random: Random; readonly within: number },
): Promise<boolean> {
  const child = spawn(
    process.execPath,
    ["--import", "tsx", "--conditions=@aligntok/source", script, folder],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const exit = once(child, "exit");
  const first = once(child.stdout, "data");
  child.stdout.resume();
  if (kill) {
    await Promise.race([first, exit]);
    await Promise.race([setTimeout(kill.random.uniform() * kill.within), exit]);
    child.kill("SIGKILL");
  }
  const [code, signal] = await exit;
  if (!kill && code !== 0) throw new Error(`${script}: exit ${code}, ${signal}`);
  return code === 0;
}

/**
 * Kills a run up to `kills` times at moments within `within` milliseconds, then lets it end.
 *
 * @returns how often a process was killed before its end
 */
export async function killAndResume(
  folder: string,
  {
    kills,
    within,
    random,
  }: { readonly kills: number; readonly within: number; readonly random: Random },
): Promise<number> {
  let killed = 0;
  while (killed < kills && !(await runOnce(folder, { random, within }))) killed++;
  await runOnce(folder);
  return killed;
}

/** What the run leaves at its end, as bytes. */
export async function readResult(folder: string): Promise<Buffer[]> {
  return Promise.all(
    ["model", "discriminator"].map((name) => readFile(join(folder, `${name}.safetensors`))),
  );
}
