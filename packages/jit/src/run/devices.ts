/** Where ONNX Runtime runs a graph: found out by running one, never assumed. */
import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { arch, platform } from "node:os";
import { promisify } from "node:util";
import { AlignTokError } from "@aligntok/core";
import type { Value } from "../graph/graph.ts";
import { lowerToOnnx } from "../onnx/lower.ts";

export type DeviceName = "cpu" | "webgpu" | "cuda";

/** One device of an engine. */
export interface DeviceReport {
  readonly name: DeviceName;
  /** Whether a graph ran on it here. */
  readonly available: boolean;
  /** `works`, or the reason and the remedy. */
  readonly detail: string;
}

/** What puts it right, where ONNX Runtime has the device on this system at all. */
const remedies: Readonly<Record<DeviceName, string>> = {
  cpu: "npm install onnxruntime-node",
  webgpu:
    "it needs a graphics card with its driver: Vulkan on Linux (vulkaninfo lists it), Direct3D 12 on Windows, Metal on macOS",
  cuda: "node node_modules/onnxruntime-node/script/install.js --onnxruntime-node-install=cuda12 downloads the files; they need an NVIDIA driver, CUDA 12 and cuDNN 9",
};

const names = Object.keys(remedies) as DeviceName[];

/** What of ONNX Runtime's devices works on this machine. */
export function devices(): Promise<readonly DeviceReport[]> {
  return Promise.all(
    names.map(async (name) => {
      const problem = await probe(name);
      return { name, available: problem === undefined, detail: problem ?? "works" };
    }),
  );
}

/**
 * @throws AlignTokError `bad-input` for a device that does not exist, `unavailable` for one that does not work here.
 */
export async function requireDevice(name: string): Promise<void> {
  if (!names.includes(name as DeviceName)) {
    throw new AlignTokError(
      "bad-input",
      `device: expected one of ${names.join(", ")}, got ${name}`,
    );
  }
  if (name === "cpu") return; // part of the library: where that loads, it works
  const problem = await probe(name as DeviceName);
  if (problem !== undefined) throw new AlignTokError("unavailable", `device ${name}: ${problem}`);
}

const works = new Set<DeviceName>();

/**
 * Runs a graph of one product on the device, in another process: a driver that crashes must not end this one.
 * Without the option, ONNX Runtime would run on the processor what the device refuses. Gives what is wrong.
 */
async function probe(device: DeviceName): Promise<string | undefined> {
  if (works.has(device)) return undefined; // otherwise it may be put right while this process runs
  const script = `
    const [library, device, model] = process.argv.slice(1);
    const ort = require(library);
    async function probe() {
      if (!ort.listSupportedBackends().some(({ name }) => name === device)) return "missing";
      const session = await ort.InferenceSession.create(Buffer.from(model, "base64"), {
        executionProviders: [device],
        logSeverityLevel: 4,
        ...(device !== "cpu" && { extra: { session: { disable_cpu_ep_fallback: "1" } } }),
      });
      const x = new ort.Tensor("float32", Float32Array.of(1, 2, 3, 4), [2, 2]);
      const { "out:": y } = await session.run({ input: x });
      return y.data.join() === "7,10,15,22" ? "works" : "computes 7,10,15,22 as " + y.data.join();
    }
    probe().catch((error) => error.message).then((answer) => {
      process.stdout.write("\\n" + JSON.stringify(answer) + "\\n", () => process.exit());
    });`;
  const library = createRequire(import.meta.url).resolve("onnxruntime-node");
  const model = Buffer.from(lowerToOnnx(squareOfMatrix())).toString("base64");
  const environment = { ...process.env, NODE_OPTIONS: "" };
  const answer = await promisify(execFile)(
    process.execPath,
    ["-e", script, library, device, model],
    { env: environment, timeout: 60_000 },
  ).then(
    ({ stdout }) => JSON.parse(stdout.trimEnd().split("\n").at(-1)!) as string,
    ({ signal, code }: { signal?: string; code?: number }) =>
      `its driver ends the process (${signal ?? `exit code ${code}`})`,
  );
  if (answer === "missing") {
    return `not in onnxruntime-node for ${platform()} ${arch()}. use another device`;
  }
  if (answer !== "works") return `${reasonOf(answer)}. ${remedies[device]}`;
  works.add(device);
  return undefined;
}

function squareOfMatrix() {
  const x: Value = { shape: [2, 2], dtype: "float32" };
  const y: Value = { shape: [2, 2], dtype: "float32" };
  const attributes = { transposeA: false, transposeB: false };
  return {
    inputs: [{ name: "input", value: x }],
    outputs: [{ name: "out:", value: y }],
    nodes: [{ op: "BatchMatMul", inputs: [x, x], attributes, outputs: [y] }],
  };
}

/** The last clause of ONNX Runtime's message, which begins with the place in its source. */
function reasonOf(message: string): string {
  const line = message.split("\n")[0]!.trim();
  return line.replace(/^.* was false\. /, "").replace(/^\w+: (Failed to load)/, "$1");
}
