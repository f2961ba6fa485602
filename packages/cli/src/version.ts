import { existsSync, readFileSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * Version of an installed package, or undefined where it is absent.
 *
 * @param via the package that depends on it, where this one does not
 */
export function versionOf(name: string, via?: string): string | undefined {
  const from = via === undefined ? import.meta.url : manifestOf(via, import.meta.url);
  const path = from && manifestOf(name, from);
  if (!path) return undefined;
  return (JSON.parse(readFileSync(path, "utf8")) as { version: string }).version;
}

/** What a report says it was made with. */
export function installedVersions(): Record<string, string> {
  const known = {
    aligntok: versionOf("@aligntok/cli"),
    "onnxruntime-node": versionOf("onnxruntime-node", "@aligntok/jit"),
  };
  const present = Object.entries(known).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  );
  return { node: process.version.slice(1), ...Object.fromEntries(present) };
}

/** Path of a file of this package, wherever the calling code was built to. */
export function packageFile(path: string): string {
  return fileURLToPath(new URL(path, findPackage(import.meta.url)));
}

/** URL of the folder, with a slash at its end, that holds the package.json above a module. */
function findPackage(module: string): URL {
  const folder = new URL(".", module);
  return existsSync(new URL("package.json", folder))
    ? folder
    : findPackage(new URL("..", folder).href);
}

/** Path of a package's package.json as a module at `from` would find it, whatever the package exports. */
function manifestOf(name: string, from: string): string | undefined {
  const folders = createRequire(from).resolve.paths(name) ?? [];
  const path = folders.map((folder) => join(folder, name, "package.json")).find(existsSync);
  return path && join(realpathSync(dirname(path)), "package.json");
}
