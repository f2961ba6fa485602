import { AlignTokError, sizeOf } from "@aligntok/core";
import {
  type BackendValues,
  type DataType,
  KernelBackend,
  registerBackend,
  removeBackend,
} from "@tensorflow/tfjs-core";
import { CONSTANT, FILL, type Node, type Value } from "../graph/graph.ts";

export const TRACE_BACKEND = "aligntok-trace";

interface Recording {
  readonly nodes: Node[];
  readonly values: Map<object, number>;
  /** Where each value was recorded: the stack of an error, which costs little until it is read. */
  readonly callers: Map<Value, Error> | undefined;
  /** The `checkpoint` that is being recorded. */
  region?: { readonly outputs: Set<object> } | undefined;
}

/**
 * A tfjs backend that computes nothing. Its "data" are the values of the graph being recorded, so
 * that tfjs's own tape, gradients and operations work on it unchanged.
 */
class TraceBackend extends KernelBackend {
  /** The trace under way: its nodes in order, and how many live tensors each of its values has, for tf.memory(). */
  recording: Recording | undefined;

  record(node: Node): readonly Value[] {
    if (!this.recording) {
      deactivateTracing();
      throw new AlignTokError(
        "unavailable",
        `${node.op}: called outside a traced function, and no tfjs backend is loaded to compute it. import @tensorflow/tfjs-backend-cpu, or move the call into the function given to compile`,
      );
    }
    const { region } = this.recording;
    this.recording.nodes.push(region ? { ...node, region } : node);
    for (const output of node.outputs) {
      this.recording.values.set(output, 1);
      this.recording.callers?.set(output, new Error());
    }
    return node.outputs;
  }

  /** The value behind a tensor's `dataId`, which must be of the trace under way. */
  recordedValue(dataId: object | undefined, what: string): Value {
    if (dataId && this.recording?.values.has(dataId)) return dataId as Value;
    throw new AlignTokError(
      "bad-input",
      `${what}: got a tensor that was made outside of the traced function. pass it in as an input`,
    );
  }

  override write(values: BackendValues, shape: number[], dtype: DataType): object {
    const output = { shape, dtype: traceable(dtype) };
    // A tensor made of parts (tf.zeros, and tfjs's own zero gradients) is a fill when all are equal.
    const data = values as Float32Array;
    const first = data[0];
    const uniform = sizeOf(shape) > 0 && isUniform(data);
    this.record(
      uniform
        ? { op: FILL, inputs: [], attributes: { value: Number(first) }, outputs: [output] }
        : {
            op: CONSTANT,
            inputs: [],
            attributes: { data: copyOf(data, output.dtype) },
            outputs: [output],
          },
    );
    return output;
  }

  override readSync(): never {
    throw new AlignTokError(
      "bad-input",
      "tensor values are not known while a function is traced: dataSync, data and array cannot be used in it. return the tensor as an output, or pass the value in as an input",
    );
  }

  override async read(): Promise<never> {
    return this.readSync();
  }

  override numDataIds(): number {
    return 0;
  }

  override disposeData(dataId: object): boolean {
    return this.#addReferences(dataId, -1) <= 0;
  }

  override incRef(dataId: object): void {
    this.#addReferences(dataId, 1);
  }

  override refCount(dataId: object): number {
    return this.#addReferences(dataId, 0);
  }

  #addReferences(dataId: object, change: number): number {
    const count = this.recording?.values.get(dataId);
    if (count === undefined) return 0; // not of this trace
    this.recording?.values.set(dataId, count + change);
    return count + change;
  }

  override memory() {
    return { unreliable: true };
  }

  override floatPrecision(): 32 {
    return 32;
  }

  override epsilon(): number {
    return 1e-7;
  }

  override timerAvailable(): boolean {
    return false;
  }

  override dispose(): void {}
}

/** tfjs element types that the graph knows. */
export function traceable(dtype: DataType): Value["dtype"] {
  if (dtype === "float32" || dtype === "int32" || dtype === "bool") return dtype;
  throw new AlignTokError(
    "unsupported",
    `tensor of dtype ${dtype}: expected float32, int32 or bool`,
  );
}

/** Whether all elements have the same bits: whether the array equals itself shifted by one. Arrays here may be large. */
function isUniform(data: ArrayLike<number>): boolean {
  if (!ArrayBuffer.isView(data)) {
    return Array.from(data).every((value) => Object.is(value, data[0]));
  }
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const element = data.byteLength / data.length;
  return bytes.subarray(element).equals(bytes.subarray(0, bytes.length - element));
}

function copyOf(data: ArrayLike<number>, dtype: Value["dtype"]) {
  if (dtype === "float32") return Float32Array.from(data);
  return dtype === "int32" ? Int32Array.from(data) : Uint8Array.from(data, Number);
}

export const traceBackend = new TraceBackend();
// Priority 0: any backend that computes is preferred for eager calls.
const register = () => registerBackend(TRACE_BACKEND, () => traceBackend, 0);
register();

/** Leaves tfjs with no active backend, so that its next eager call chooses one by priority. */
export function deactivateTracing(): void {
  removeBackend(TRACE_BACKEND);
  register();
}
