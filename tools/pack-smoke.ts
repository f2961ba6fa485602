/**
 * Packs every public package, installs the tarballs in an empty folder, imports every export from there and runs
 * the `aligntok` command: what a user gets from npm, without publishing. `npm run build` comes first.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listPackages, root } from "./workspace.ts";

const packages = listPackages().filter(({ manifest }) => !manifest.private);
const unbuilt = packages.filter(({ path }) => !existsSync(join(root, path, "dist")));
if (unbuilt.length > 0) {
  console.error(`pack smoke: ${unbuilt.map(({ path }) => path)} not built. run npm run build`);
  process.exit(1);
}

/** A script that runs a graph in a worker thread, which is a file of its own in the package. */
const runInWorker = `
  import { compile, spec } from "@aligntok/jit";
  import { neg } from "@tensorflow/tfjs-core";
  const step = await compile(neg, spec([1]), { worker: true });
  const { data } = await step.run({ dtype: "float32", shape: [1], data: Float32Array.of(-7) });
  if (data[0] !== 7) throw new Error("worker thread: expected 7, got " + data[0]);
  console.log("a graph runs in a worker thread");`;

const folder = mkdtempSync(join(tmpdir(), "aligntok-pack-"));
try {
  const packed = JSON.parse(
    run("npm", ["pack", "--json", "--pack-destination", folder, ...paths()], root),
  ) as PackReport[] | Record<string, PackReport>;
  const tarballs = Object.values(packed);
  console.log(`packed ${tarballs.length} packages, ${kilobytes(tarballs)} KB`);

  // A tarball of each package as a direct dependency: the packages find one another among these, not in the registry.
  const dependencies = Object.fromEntries(
    tarballs.map(({ name, filename }) => [name, `file:${filename}`]),
  );
  const manifest = { name: "empty", private: true, type: "module", dependencies };
  writeFileSync(join(folder, "package.json"), JSON.stringify(manifest, undefined, 2));
  run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund"], folder);

  const specifiers = packages.flatMap(({ manifest: { name, exports = {} } }) =>
    Object.keys(exports)
      .filter((key) => !key.endsWith(".json"))
      .map((key) => name + key.slice(1)),
  );
  writeFileSync(join(folder, "import-all.js"), importAll(specifiers));
  console.log(run(process.execPath, ["import-all.js"], folder).trim());

  writeFileSync(join(folder, "worker.js"), runInWorker);
  console.log(run(process.execPath, ["worker.js"], folder).trim());

  const command = join(folder, "node_modules/.bin/aligntok");
  const report = JSON.parse(run(command, ["doctor", "--json"], folder)) as { version: string };
  run(command, ["features", "--help"], folder);
  console.log(`aligntok ${report.version} runs from the tarballs`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

interface PackReport {
  readonly name: string;
  readonly filename: string;
  readonly size: number;
}

function paths(): string[] {
  return packages.map(({ path }) => `./${path}`);
}

function kilobytes(tarballs: readonly PackReport[]): number {
  return Math.round(tarballs.reduce((sum, { size }) => sum + size, 0) / 1000);
}

/** A script that imports each specifier and fails where one exports nothing. */
function importAll(specifiers: readonly string[]): string {
  return `
    for (const specifier of ${JSON.stringify(specifiers)}) {
      const names = Object.keys(await import(specifier));
      if (names.length === 0) throw new Error(specifier + " exports nothing");
      console.log(specifier + ": " + names.length + " exports");
    }`;
}

function run(command: string, args: readonly string[], cwd: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    encoding: "utf8",
    env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: "skip" }, // no CUDA download
    maxBuffer: 2 ** 26,
  });
  if (status !== 0) {
    throw new Error(`${command} ${args.join(" ")} failed in ${cwd}:\n${error ?? stdout + stderr}`);
  }
  return stdout;
}
