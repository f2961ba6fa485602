import { defineConfig } from "tsup";
import { preset } from "../../tsup.preset.ts";

// The worker is a file of its own: it is started by its name.
export default defineConfig(preset({ entry: ["src/index.ts", "src/run/onnx-worker.ts"] }));
