#!/usr/bin/env node
// Installed from npm, the built command runs. In a clone the TypeScript sources run as they are, right after
// `npm ci`: tsx strips the types and `@aligntok/source` leads from package to package, all in this one process,
// so that Ctrl-C and kill reach the work itself.
import { realpathSync } from "node:fs";
import { register } from "node:module";
import { sep } from "node:path";
import { fileURLToPath } from "node:url";

const installed = realpathSync(fileURLToPath(import.meta.url)).includes(`${sep}node_modules${sep}`);

if (installed) {
  await import("../dist/main.js");
} else {
  const tsx = await import("tsx/esm/api").catch(() => {
    process.stderr.write("aligntok: tsx is not installed. run npm ci at the root of the clone.\n");
    process.exit(1);
  });
  tsx.register();
  const conditions = `export function resolve(specifier, context, next) {
    return next(specifier, { ...context, conditions: ["@aligntok/source", ...context.conditions] });
  }`;
  register(`data:text/javascript,${encodeURIComponent(conditions)}`);
  await import("../src/main.ts");
}
