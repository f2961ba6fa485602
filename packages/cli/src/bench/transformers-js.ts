/** transformers.js, with which cases that encode files are compared where it is installed. */
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { AlignTokError } from "@aligntok/core";
import { packageFile } from "../version.ts";
import { startContestant } from "./contestant.ts";
import { readPlan, withPlan } from "./encode-plan.ts";
import type { Peer } from "./peer.ts";

/**
 * Finds transformers.js from the working folder, then from here.
 *
 * @param python what exports the weights as ONNX
 * @returns undefined where it is not installed
 */
export function findTransformersJs(python: string): Peer | undefined {
  const folder = packageFolder("@huggingface/transformers");
  if (folder === undefined) return undefined;
  const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  return {
    name: `transformers.js ${version}`,
    async start(_, { threads, signal, plan }) {
      const { folder: weights } = await readPlan(plan);
      if (!existsSync(join(weights, "onnx", "model.onnx"))) await exportOnnx(python, weights);
      const script = packageFile("peer/transformers-js.mjs");
      const module = join(folder, "dist", "transformers.node.mjs");
      return startContestant(process.execPath, [script, module, String(threads)], {
        signal,
        env: withPlan(process.env, plan),
      });
    },
  };
}

function packageFolder(name: string): string | undefined {
  for (const origin of [join(process.cwd(), "_.js"), import.meta.url]) {
    const found = createRequire(origin).resolve.paths(name) ?? [];
    const folder = found.map((path) => join(path, name)).find((path) => existsSync(path));
    if (folder) return folder;
  }
  return undefined;
}

async function exportOnnx(python: string, folder: string): Promise<void> {
  const script = packageFile("peer/export_onnx.py");
  await promisify(execFile)(python, [script, folder]).catch(
    (error: Error & { stderr?: string }) => {
      const reason = error.stderr?.trim().split("\n").at(-1) ?? error.message;
      throw new AlignTokError(
        "unavailable",
        `export of ${dirname(folder)}: expected torch, transformers and onnx, got ${reason}. run ${python} -m pip install torch transformers onnx`,
        { cause: error },
      );
    },
  );
}
