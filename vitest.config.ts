import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    projects: ["packages/*"],
    maxWorkers: 2,
    coverage: { provider: "v8", include: ["packages/*/src/**/*.ts"] },
  },
});
