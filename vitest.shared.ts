import { defaultServerConditions } from "vite";
import { defineConfig, type ViteUserConfig } from "vitest/config";

const conditions = ["@aligntok/source", ...defaultServerConditions];

/** Settings every package's test project extends: workspace imports resolve to source, never to a build. */
export function project(overrides: NonNullable<ViteUserConfig["test"]> = {}): ViteUserConfig {
  return defineConfig({
    ssr: { resolve: { conditions } },
    test: {
      environment: "node",
      include: ["test/**/*.test.ts"],
      testTimeout: 60_000,
      ...overrides,
    },
  });
}
