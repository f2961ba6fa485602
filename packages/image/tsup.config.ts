import { defineConfig } from "tsup";
import { preset } from "../../tsup.preset.ts";

// The worker is a file of its own beside the others: it is started by its name.
export default defineConfig(
  preset({ entry: { index: "src/index.ts", "decode-worker": "src/decode-worker.ts" } }),
);
