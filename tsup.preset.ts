import type { Options } from "tsup";

/** Shared build settings of every published package. */
export function preset(overrides: Options = {}): Options {
  return {
    entry: ["src/index.ts"],
    format: ["esm"],
    target: "node20",
    platform: "node",
    dts: { compilerOptions: { ignoreDeprecations: "6.0" } }, // tsup injects baseUrl, an error in TypeScript 6
    sourcemap: true,
    clean: true,
    splitting: true,
    removeNodeProtocol: false,
    ...overrides,
  };
}
