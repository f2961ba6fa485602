/** What the checks know of the workspace: its packages and their files. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly private?: boolean;
  readonly exports?: Record<string, unknown>;
  readonly dependencies?: Record<string, string>;
  readonly peerDependencies?: Record<string, string>;
  readonly devDependencies?: Record<string, string>;
  readonly nx?: { readonly tags?: readonly string[] };
}

export interface Package {
  /** `packages/core` */
  readonly path: string;
  readonly manifest: Manifest;
}

/** Absolute path of the repository's root. */
export const root = fileURLToPath(new URL("..", import.meta.url));

export function readManifest(path: string): Manifest {
  return JSON.parse(readFileSync(join(root, path, "package.json"), "utf8")) as Manifest;
}

export function listPackages(): Package[] {
  return readdirSync(join(root, "packages"))
    .map((folder) => `packages/${folder}`)
    .filter((path) => existsSync(join(root, path, "package.json")))
    .sort()
    .map((path) => ({ path, manifest: readManifest(path) }));
}

/** Paths from the root of the files below `folder` that end in `extension`; none where it does not exist. */
export function listFiles(folder: string, extension: string): string[] {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(extension))
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length))
    .sort();
}
