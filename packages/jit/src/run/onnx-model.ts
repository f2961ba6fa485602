/**
 * A model in ONNX Runtime. This file runs on the main thread and in the worker thread alike, so what it takes
 * can be posted, and its errors are those of ONNX Runtime.
 */
import { MessageChannel, type MessagePort } from "node:worker_threads";
import type { NdArray } from "@aligntok/core";
import type { InferenceSession, Tensor } from "onnxruntime-node";
import type { Value } from "../graph/graph.ts";
import type { DeviceName } from "./devices.ts";
import { createCached, type GraphCache } from "./onnx-cache.ts";

export interface OnnxModel {
  /** The bytes of the ONNX file. */
  readonly bytes: Uint8Array;
  /** Inputs that are the same at every run. They are not copied. */
  readonly bound: Arrays;
  /** Where the files lie that the model maps weights from. */
  readonly folder?: string | undefined;
  readonly outputs: readonly { readonly name: string; readonly value: Value }[];
  /** Names of ONNX Runtime's own optimisers to leave out. @default none */
  readonly withoutOptimizers?: readonly string[];
  /** Gives memory back as soon as a value is done with, for time. @default false */
  readonly sparing?: boolean;
  readonly threads: number;
  readonly device: DeviceName;
  /** Where optimised graphs are kept. */
  readonly cache?: Omit<GraphCache, "version"> | undefined;
}

export interface LoadedModel {
  /** Fills the arrays of `into`, and makes new ones for the other outputs. */
  run(feeds: Arrays, into: Arrays): Promise<Map<string, NdArray>>;
  release(): Promise<void>;
}

export type Arrays = ReadonlyMap<string, NdArray>;

/** The native library is loaded only here, not on import. */
export async function loadOnnxModel(model: OnnxModel): Promise<LoadedModel> {
  const {
    bytes,
    folder,
    outputs,
    withoutOptimizers = [],
    sparing = false,
    threads,
    device,
    cache,
  } = model;
  const ort = await import("onnxruntime-node");
  const toTensor = ({ dtype, shape, data }: NdArray): Tensor =>
    new ort.Tensor(dtype as "float32", data as Float32Array, shape);
  const options: InferenceSession.SessionOptions = {
    executionProviders: [device],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: "all",
    // A planned block for all activations comes on top of what the first run took piece by piece, nearly twice the
    // memory, and is fetched afresh at each run: page faults that cost more than it saves.
    enableMemPattern: false,
    // The arena grows by powers of two and keeps what it has: of the large values of a training step twice their size.
    enableCpuMemArena: !sparing,
    // Threads that wait for longer than it takes to begin the next operation sleep: always sleeping costs small
    // graphs a fifth of their time, and always spinning several times as much where other work shares the cores.
    extra: {
      ...(withoutOptimizers.length > 0 && {
        optimization: { disable_specified_optimizers: withoutOptimizers.join(";") },
      }),
      session: {
        intra_op: { allow_spinning: "1", spin_duration_us: "20" },
        // Mapped weights are used where they lie; laid out anew, each would be copied.
        ...(folder && {
          model_external_initializers_file_folder_path: folder,
          disable_prepacking: "1",
        }),
      },
    },
    logSeverityLevel: 4, // fatal: what goes wrong is thrown as well
  };
  const toTensors = (arrays: Arrays) =>
    Array.from(arrays, ([name, array]) => [name, toTensor(array)] as const);
  const create = (content: Uint8Array, settings: InferenceSession.SessionOptions) =>
    ort.InferenceSession.create(content, settings);
  // An entry for mapped weights would hold a copy of them.
  const session =
    cache && !folder
      ? await createCached(create, bytes, options, {
          ...cache,
          version: String(ort.env.versions.node),
        })
      : await create(bytes, options);
  const bound = toTensors(model.bound);
  return {
    async run(feeds, into) {
      // An input that the optimised graph does not use is still declared, so it must be fed.
      const given = Object.fromEntries([...bound, ...toTensors(feeds)]);
      const fetches: Record<string, Tensor | null> = {};
      for (const { name } of outputs) {
        const target = into.get(name);
        fetches[name] = target ? toTensor(target) : null;
      }
      const results = await session.run(given, fetches);
      // onnxruntime-node makes a copy of each output, of those that it filled a given array with as well.
      for (const [name, { data }] of into) {
        const copy = results[name]!.data as NdArray["data"];
        if (copy.buffer !== data.buffer) free(copy);
      }
      return new Map(
        outputs.map(({ name, value: { dtype, shape } }) => {
          const made = () => ({ dtype, shape, data: results[name]!.data }) as NdArray;
          return [name, into.get(name) ?? made()];
        }),
      );
    },
    release: () => session.release(),
  };
}

let nowhere: MessagePort | undefined;

/** Frees the memory of an array at once, where a collector would come to it some runs later: sent to a closed port. */
function free({ buffer }: NdArray["data"]): void {
  if (!nowhere) {
    nowhere = new MessageChannel().port1;
    nowhere.close();
  }
  nowhere.postMessage(null, [buffer as ArrayBuffer]);
}
