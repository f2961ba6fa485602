import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../../shared/data/", import.meta.url));

/**
 * Path of a file or folder of the real test data that lies beside a checkout (`../shared/data`),
 * or undefined where it is absent: such tests skip, they never fail.
 */
export function sharedData(...parts: readonly string[]): string | undefined {
  const path = join(root, ...parts);
  return existsSync(path) ? path : undefined;
}
