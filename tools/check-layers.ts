/**
 * Checks the architecture: `npm run layers`.
 *
 * - Every package has one tag `layer:N` and depends only on packages of strictly lower layers.
 * - Sources import only what their package declares, and never reach into another folder of the workspace.
 * - Tests may also import devDependencies, the workspace's own development tools, and `@aligntok/testing`.
 */
import { readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join, relative } from "node:path";
import ts from "typescript";
import { listFiles, listPackages, readManifest, root } from "./workspace.ts";

const testing = "@aligntok/testing";
const rootTools = Object.keys(readManifest(".").devDependencies ?? {});
const problems: string[] = [];

const packages = listPackages().map(({ path, manifest }) => {
  const tags = manifest.nx?.tags?.filter((tag) => /^layer:\d+$/.test(tag)) ?? [];
  if (tags.length !== 1) problems.push(`${path}: expected one nx tag layer:N, got [${tags}]`);
  const layer = Number(tags[0]?.slice("layer:".length) ?? Number.NaN);
  return { path, manifest, name: manifest.name, layer };
});
const byName = new Map(packages.map((entry) => [entry.name, entry]));

for (const entry of packages) {
  const { dependencies = {}, peerDependencies = {}, devDependencies = {} } = entry.manifest;
  const declared = new Set([...Object.keys(dependencies), ...Object.keys(peerDependencies)]);
  const forTests = new Set([...declared, ...Object.keys(devDependencies), ...rootTools, testing]);

  // `testing` serves the tests of every layer, itself included.
  if (entry.name !== testing) {
    for (const name of declared) {
      const dependency = byName.get(name);
      if (dependency && !(dependency.layer < entry.layer)) {
        problems.push(
          `${entry.name} (layer ${entry.layer}) depends on ${name} (layer ${dependency.layer}): only lower layers may be imported`,
        );
      }
    }
  }

  for (const folder of ["src", "test"]) {
    const allowed = folder === "src" ? declared : forTests;
    for (const file of listFiles(join(entry.path, folder), ".ts")) {
      for (const specifier of importsOf(file)) {
        const problem = specifier.startsWith(".")
          ? leavesPackage(file, specifier, entry.path)
          : undeclared(specifier, entry.name, allowed);
        if (problem) problems.push(`${file}: ${problem}`);
      }
    }
  }
}

/** Specifiers of static, dynamic and type-only imports and of re-exports. */
function importsOf(file: string): string[] {
  return ts
    .preProcessFile(readFileSync(join(root, file), "utf8"), true, true)
    .importedFiles.map((file) => file.fileName);
}

function leavesPackage(file: string, specifier: string, folder: string): string | undefined {
  const target = relative(folder, join(dirname(file), specifier));
  return target.startsWith("..") ? `${specifier} leaves its package. import it by name` : undefined;
}

function undeclared(
  specifier: string,
  self: string,
  allowed: ReadonlySet<string>,
): string | undefined {
  if (isBuiltin(specifier)) return undefined;
  const name = specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
  if (name === self || allowed.has(name)) return undefined;
  return `imports ${name}, which ${self} does not declare. add it to its package.json or drop the import`;
}

if (problems.length > 0) {
  console.error(problems.join("\n"));
  process.exitCode = 1;
} else {
  console.log(`layers: ${packages.length} packages, all imports declared and pointing down`);
}
