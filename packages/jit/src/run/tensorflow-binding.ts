/**
 * The native part of tfjs-node: found at run time, never a dependency.
 *
 * Only this part is loaded, not the package around it: that one registers its own gradients over ours, makes
 * itself tfjs's active backend, and on Node >= 23 calls `util.isNullOrUndefined`, which is gone. The functions
 * used are those behind its public `loadSavedModel` and `runSavedModel`, the same in every 4.x.
 */
import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { AlignTokError } from "@aligntok/core";

/** Handles are numbers; data of tensors are typed arrays. */
export interface TensorFlowBinding {
  readonly TF_Version: string;
  readonly TF_FLOAT: number;
  readonly TF_INT32: number;
  readonly TF_BOOL: number;
  isUsingGpuDevice(): boolean;
  createTensor(shape: readonly number[], dtype: number, data: ArrayBufferView): number;
  tensorDataSync(tensor: number): Float32Array | Int32Array | Uint8Array;
  deleteTensor(tensor: number): void;
  loadSavedModel(folder: string, tags: string): number;
  deleteSavedModel(model: number): void;
  /** `inputs` and `outputs` are names joined by commas. */
  runSavedModel(
    model: number,
    tensors: readonly number[],
    inputs: string,
    outputs: string,
  ): { readonly id: number }[];
}

export interface FoundTensorFlow {
  /** `tfjs-node 4.22.0` */
  readonly name: string;
  /** The file of the native addon. */
  readonly path: string;
}

const packages = ["@tensorflow/tfjs-node-gpu", "@tensorflow/tfjs-node"];

/** What puts it right, wherever something is missing. */
const remedy =
  "npm install @tensorflow/tfjs-node (or @tensorflow/tfjs-node-gpu); where its download is blocked, npm run setup:tensorflow in the @aligntok repository, and ALIGNTOK_TENSORFLOW set to the folder that it names";

/**
 * Looks for tfjs-node-gpu and tfjs-node: in the folder that the environment variable ALIGNTOK_TENSORFLOW names;
 * otherwise as Node finds packages from the working directory, then from here, then in folders `.tensorflow`
 * from the working directory upward.
 *
 * @throws AlignTokError `unavailable` with what was missing and the remedy
 */
export function findTensorFlow(): FoundTensorFlow {
  const named = process.env.ALIGNTOK_TENSORFLOW;
  const roots = named ? [named] : [process.cwd(), import.meta.dirname, ...setupFolders()];
  const problems: string[] = [];
  for (const root of roots) {
    for (const name of packages) {
      const manifest = resolveFrom(root, `${name}/package.json`);
      if (!manifest) continue;
      const path = addonOf(dirname(manifest));
      const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { version: string };
      if (path) return { name: `${name.split("/")[1]} ${version}`, path };
      problems.push(`${dirname(manifest)} has no native part: its install script has not run`);
    }
  }
  const where = named ? `no tfjs-node in ALIGNTOK_TENSORFLOW=${named}` : "tfjs-node not found";
  throw new AlignTokError("unavailable", `${problems[0] ?? where}. ${remedy}`);
}

function resolveFrom(folder: string, request: string): string | undefined {
  try {
    return createRequire(join(folder, "package.json")).resolve(request);
  } catch {
    return undefined;
  }
}

function setupFolders(): string[] {
  const folders: string[] = [];
  for (let folder = process.cwd(); ; folder = dirname(folder)) {
    folders.push(join(folder, ".tensorflow"));
    if (dirname(folder) === folder) return folders.filter((path) => existsSync(path));
  }
}

/** The addon for the newest version of Node's native interface that this Node has. */
function addonOf(folder: string): string | undefined {
  const lib = join(folder, "lib");
  const versions = existsSync(lib) ? readdirSync(lib) : [];
  return versions
    .flatMap((name) => /^napi-v(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number)
    .filter((version) => version <= Number(process.versions.napi))
    .sort((a, b) => b - a)
    .map((version) => join(lib, `napi-v${version}`, "tfjs_binding.node"))
    .find((path) => existsSync(path));
}

/** TensorFlow as found out without loading it here. */
export interface TensorFlowReport {
  /** Of libtensorflow. */
  readonly version: string;
  readonly gpu: boolean;
}

const probes = new Map<string, Promise<TensorFlowReport>>();

/**
 * Loads the addon in another process: one that lacks a library, or that the processor cannot execute, must not
 * end this one, and TensorFlow keeps the number of threads that it was first loaded with.
 *
 * @throws AlignTokError `unavailable`
 */
export function probeTensorFlow({ name, path }: FoundTensorFlow): Promise<TensorFlowReport> {
  const known = probes.get(path);
  if (known) return known;
  const script =
    "const tf = require(process.argv[1]); process.stdout.write(JSON.stringify({ version: tf.TF_Version, gpu: tf.isUsingGpuDevice() }));";
  const probe = promisify(execFile)(process.execPath, ["-e", script, path], {
    env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: "3", NODE_OPTIONS: "" },
    timeout: 60_000,
  }).then(
    ({ stdout }) => JSON.parse(stdout) as TensorFlowReport,
    (error: Error & { stderr?: string; signal?: string }) => {
      probes.delete(path); // it may be put right while this process runs
      const line = error.stderr?.split("\n").find((text) => text.includes("Error: "));
      const reason =
        line?.replace(/^.*?Error: /, "") ?? error.signal ?? error.message.split("\n")[0];
      throw new AlignTokError("unavailable", `${name} does not load: ${reason}. ${remedy}`, {
        cause: error,
      });
    },
  );
  probes.set(path, probe);
  return probe;
}

let loaded: { readonly binding: TensorFlowBinding; readonly threads: number } | undefined;

/**
 * Loads TensorFlow into this process, once.
 *
 * @param threads of its pool, which all graphs of the process share
 * @throws AlignTokError `unavailable` where it is not installed; `unsupported` for another number of threads
 * than it was loaded with
 */
export async function loadTensorFlow(threads?: number): Promise<TensorFlowBinding> {
  if (!loaded) {
    const found = findTensorFlow();
    await probeTensorFlow(found);
    loaded ??= open(found.path, threads ?? availableParallelism());
  }
  if (threads !== undefined && threads !== loaded.threads) {
    throw new AlignTokError(
      "unsupported",
      `threads: expected ${loaded.threads}, which TensorFlow was loaded with in this process, got ${threads}. use one number, or another process`,
    );
  }
  return loaded.binding;
}

function open(path: string, threads: number) {
  process.env.TF_CPP_MIN_LOG_LEVEL ??= "2"; // errors: it greets on standard error otherwise
  process.env.TF_NUM_INTRAOP_THREADS = String(threads);
  process.env.TF_NUM_INTEROP_THREADS = "1";
  return { binding: createRequire(import.meta.url)(path) as TensorFlowBinding, threads };
}
