/** Kills a training in a process of its own at random moments, until it is at its end. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Random } from "@aligntok/core";

const script = fileURLToPath(new URL("three-stages.ts", import.meta.url));

/** Milliseconds within which a step or the saving of a checkpoint comes to its end. */
const stepTime = 50;

interface Moments {
  readonly random: Random;
  /** Most steps that a process takes before it is killed in the middle of the next. */
  readonly steps: number;
}

/** Runs to the end, or to SIGKILL after a random number of steps and a part of another; true at the end. */
async function runOnce(folder: string, moments?: Moments): Promise<boolean> {
  const child = spawn(
    process.execPath,
    ["--import", "tsx", "--conditions=@aligntok/source", script, folder],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const exit = once(child, "exit");
  child.stdout.resume();
  if (moments) {
    const { random, steps } = moments;
    const wanted = 1 + random.integer(steps + 1); // a process has a line at its start, before it compiles
    await Promise.race([waitForLines(child.stdout, wanted), exit]);
    await Promise.race([setTimeout(random.uniform() * stepTime), exit]);
    child.kill("SIGKILL");
  }
  const [code, signal] = await exit;
  if (!moments && code !== 0) throw new Error(`${script}: exit ${code}, ${signal}`);
  return code === 0;
}

function waitForLines(output: Readable, wanted: number): Promise<void> {
  let lines = 0;
  return new Promise((resolve) => {
    output.on("data", (text: Buffer) => {
      lines += text.toString().split("\n").length - 1;
      if (lines >= wanted) resolve();
    });
  });
}

/**
 * Kills a run up to `kills` times, each time after some of `steps` steps, then lets it end.
 *
 * @returns how often a process was killed before its end
 */
export async function killAndResume(
  folder: string,
  { kills, ...moments }: Moments & { readonly kills: number },
): Promise<number> {
  let killed = 0;
  while (killed < kills && !(await runOnce(folder, moments))) killed++;
  await runOnce(folder);
  return killed;
}

/** What the run leaves at its end, as bytes. */
export async function readResult(folder: string): Promise<Buffer[]> {
  return Promise.all(
    ["model", "discriminator"].map((name) => readFile(join(folder, `${name}.safetensors`))),
  );
}
