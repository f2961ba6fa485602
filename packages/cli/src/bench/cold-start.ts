/** From the start of a process to its first features, as a user's program has it: the built packages, nothing of this one. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { AlignTokError } from "@aligntok/core";
import { packageFile } from "../version.ts";

const program = `
  import { loadEncoder } from "@aligntok/encoders";
  const [folder, photograph, threads] = process.argv.slice(1);
  const encoder = await loadEncoder(folder, { threads: Number(threads) });
  const { value } = await encoder.featuresOf([photograph]).next();
  if (!value.features.data.every(Number.isFinite)) throw new Error("features that are no numbers");
  console.log(process.resourceUsage().maxRSS / 1024);
  process.exit();`;

/** Whether the packages have been built, which those of a clone need not be. */
export function isBuilt(): boolean {
  try {
    return existsSync(createRequire(packageFile("package.json")).resolve("@aligntok/encoders"));
  } catch {
    return false;
  }
}

/** Runs such a process. @returns its peak resident memory in MB */
export async function runColdStart(
  folder: string,
  photograph: string,
  threads: number,
): Promise<number> {
  const flags = ["--input-type=module", "--eval", program];
  const child = spawn(process.execPath, [...flags, folder, photograph, String(threads)], {
    cwd: packageFile(""),
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  child.stdout.on("data", (text) => {
    said += text;
  });
  const code = await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  if (code === 0) return Number(said);
  throw new AlignTokError(
    "unavailable",
    `cold start: expected exit code 0, got ${code}. see what it printed above`,
  );
}
