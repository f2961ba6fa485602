import type { Value } from "../graph/graph.ts";
import { createMessage, type Message } from "../protobuf.ts";

/** Numbers of the element types in onnx.proto's TensorProto. */
export const elementTypes = { float32: 1, uint8: 2, int8: 3, int32: 6, int64: 7, bool: 9 } as const;
type ElementType = keyof typeof elementTypes;

/** Bytes of another file; the engine knows the folder that `location` is relative to. */
export interface ExternalData {
  readonly location: string;
  /** In bytes. */
  readonly offset: number;
  /** In bytes. */
  readonly length: number;
}

type ScalarType = Value["dtype"] | "uint8";

interface TypedShape {
  readonly shape: readonly number[];
  readonly dtype: Value["dtype"] | "uint8" | "int8";
}

type AttributeValue = number | string | readonly number[] | { readonly float: number };

/** Operations outside of the ONNX standard that ONNX Runtime has on every platform. */
export const MICROSOFT = "com.microsoft";
/** Those of its optimiser, on images with channels in blocks. */
export const NCHWC = "com.microsoft.nchwc";
const OPSET = 21;
const IR_VERSION = 10;

export interface NodeOptions {
  readonly domain?: string;
  /** Number of outputs. @default 1 */
  readonly outputs?: number;
}

/** What the file is written for. */
export type LoweringTarget = Pick<OnnxBuilder, "channelBlock" | "largestWeight">;

/** Writes an ONNX graph node by node; values are named by strings, as in the file. */
export interface OnnxBuilder {
  /** Channels in a block of the engine's own layout for convolutions, 0 to write files for any engine. */
  readonly channelBlock: number;
  /** Of int8 weights the largest magnitude: 127, or 64 for processors that add two products in 16 bits. */
  readonly largestWeight: number;
  /** Adds a node and returns the name of its first output; the others are that name + "_1", ... Floats are given as `{ float }`. */
  add(
    op: string,
    inputs: readonly (string | undefined)[],
    attributes?: Readonly<Record<string, AttributeValue>>,
    options?: NodeOptions,
  ): string;
  /** An int64 vector, as shapes and axes are given. */
  ints(values: readonly number[]): string;
  /** A scalar of a value's type. */
  scalar(value: number, dtype?: ScalarType): string;
  /** A tensor known now. */
  constant(data: Float32Array | Int32Array | Uint8Array | Int8Array, value: TypedShape): string;
  /** What `make` gives at the first call with this key. */
  once<T>(key: string, make: () => T): T;
  input(name: string, value: Value): void;
  /** A tensor of this name that lies in another file. */
  external(name: string, value: Value, data: ExternalData): void;
  /** Declares an output of the graph, in the order in which the file lists them. */
  output(name: string, value: Value): void;
  /** Makes `from` the output of that name. */
  fillOutput(name: string, from: string): void;
  finish(): Uint8Array;
}

export function createOnnxBuilder({
  channelBlock = 0,
  largestWeight = 64,
}: Partial<LoweringTarget> = {}): OnnxBuilder {
  const graph = createMessage().string(2, "aligntok");
  const shared = new Map<string, unknown>(); // among others, small initializers by content
  let count = 0;
  const fresh = (prefix: string) => `${prefix}_${count++}`;

  function initializer(
    name: string,
    dtype: ElementType,
    shape: readonly number[],
    raw: Uint8Array,
  ) {
    const tensor = createMessage();
    if (shape.length > 0) tensor.ints(1, shape);
    graph.message(5, tensor.int(2, elementTypes[dtype]).string(8, name).bytes(9, raw));
    return name;
  }

  function once<T>(key: string, make: () => T): T {
    if (!shared.has(key)) shared.set(key, make());
    return shared.get(key) as T;
  }

  const builder: OnnxBuilder = {
    channelBlock,
    largestWeight,
    add(op, inputs, attributes = {}, { domain = "", outputs = 1 } = {}) {
      const name = fresh(op);
      const node = createMessage();
      for (const input of inputs) node.string(1, input ?? "");
      for (let i = 0; i < outputs; i++) node.string(2, i === 0 ? name : `${name}_${i}`);
      node.string(3, name).string(4, op);
      for (const [key, value] of Object.entries(attributes)) node.message(5, attribute(key, value));
      if (domain) node.string(7, domain);
      graph.message(1, node);
      return name;
    },
    ints(values) {
      const raw = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
      return once(`ints ${values}`, () =>
        initializer(fresh("ints"), "int64", [values.length], raw),
      );
    },
    scalar(value, dtype = "float32") {
      return once(`scalar ${dtype} ${Object.is(value, -0) ? "-0" : value}`, () =>
        initializer(fresh("scalar"), dtype, [], bytesOf([value], dtype)),
      );
    },
    constant(data, { shape, dtype }) {
      const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      return initializer(fresh("constant"), dtype, shape, raw);
    },
    once,
    input(name, value) {
      graph.message(11, valueInfo(name, value));
    },
    external(name, { shape, dtype }, data) {
      const tensor = createMessage().ints(1, shape).int(2, elementTypes[dtype]).string(8, name);
      for (const [key, value] of Object.entries(data)) {
        tensor.message(13, createMessage().string(1, key).string(2, String(value)));
      }
      graph.message(5, tensor.int(14, 1));
    },
    output(name, value) {
      graph.message(12, valueInfo(name, value));
    },
    fillOutput(name, from) {
      graph.message(1, createMessage().string(1, from).string(2, name).string(4, "Identity"));
    },
    finish() {
      const opset = (domain: string, version: number) =>
        createMessage().string(1, domain).int(2, version);
      return createMessage()
        .int(1, IR_VERSION)
        .string(2, "@aligntok/jit")
        .message(7, graph)
        .message(8, opset("", OPSET))
        .message(8, opset(MICROSOFT, 1))
        .message(8, opset(NCHWC, 1))
        .finish();
    },
  };
  return builder;
}

function bytesOf(values: readonly number[], dtype: ScalarType): Uint8Array {
  if (dtype === "float32") return new Uint8Array(Float32Array.from(values).buffer);
  if (dtype === "int32") return new Uint8Array(Int32Array.from(values).buffer);
  return Uint8Array.from(values);
}

function attribute(name: string, value: AttributeValue): Message {
  const message = createMessage().string(1, name);
  if (typeof value === "number") return message.int(3, value).int(20, 2);
  if (typeof value === "string") {
    return message.bytes(4, new TextEncoder().encode(value)).int(20, 3);
  }
  if ("float" in value) return message.float(2, value.float).int(20, 1);
  return message.ints(8, value).int(20, 7);
}

function valueInfo(name: string, { shape, dtype }: Value): Message {
  const dimensions = createMessage();
  for (const n of shape) dimensions.message(1, createMessage().int(1, n));
  const tensor = createMessage().int(1, elementTypes[dtype]).message(2, dimensions);
  return createMessage().string(1, name).message(2, createMessage().message(1, tensor));
}
