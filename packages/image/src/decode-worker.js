// In the source tree only, where the build puts the compiled worker in its place: threads of Node 20 get no
// TypeScript loader from their parent.
// biome-ignore lint/correctness/noUndeclaredDependencies: a tool of the workspace, like the tests' own
import { register } from "tsx/esm/api";

register();
await import("./decode-worker.ts");
