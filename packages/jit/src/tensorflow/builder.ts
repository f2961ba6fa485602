import { AlignTokError } from "@aligntok/core";
import type { Value } from "../graph/graph.ts";
import { createMessage, type Message } from "../protobuf.ts";
import type { Precision } from "../run/precision.ts";

/** Numbers of the element types in TensorFlow's types.proto. */
const elementTypes = { float32: 1, int32: 3, bool: 10, bfloat16: 14, resource: 20 } as const;
export type ElementType = keyof typeof elementTypes;

type AttributeValue =
  | number // int
  | boolean
  | string
  | readonly number[]
  | { readonly float: number }
  | { readonly type: ElementType }
  | { readonly shape: readonly number[] };

export interface NodeOptions {
  /** Element type of the outputs. @default that of the first input */
  readonly dtype?: ElementType;
  /** Number of outputs of that type, or the type of each. @default 1 */
  readonly outputs?: number | readonly ElementType[];
  /** Whether the operation has the attribute T, the type of its first input. @default true */
  readonly typed?: boolean;
  /** Nodes that must have run before. @default none */
  readonly after?: readonly string[];
}

/** Writes a TensorFlow graph node by node; values are named by strings, as in the file. */
export interface TensorFlowBuilder {
  /** Adds a node and returns the name of its first output; the others are that name + ":1", ... Floats are given as `{ float }`. */
  add(
    op: string,
    inputs: readonly string[],
    attributes?: Readonly<Record<string, AttributeValue>>,
    options?: NodeOptions,
  ): string;
  /** A matrix product or convolution: of floats in the precision of the program, to float32. */
  product(
    op: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, AttributeValue>>,
  ): string;
  /** The same as `x` in another type. */
  cast(x: string, dtype: ElementType): string;
  /** As `add`, under a name of the caller's choice. */
  addNamed(
    name: string,
    op: string,
    inputs: readonly string[],
    attributes?: Readonly<Record<string, AttributeValue>>,
    options?: NodeOptions,
  ): string;
  /** An int32 vector, as shapes and axes are given. */
  ints(values: readonly number[]): string;
  /** A scalar of a value's type. */
  scalar(value: number, dtype?: Value["dtype"]): string;
  /** A tensor known now. */
  constant(data: Float32Array | Int32Array | Uint8Array, value: Value): string;
  /** Element type of a value made before. */
  typeOf(name: string): ElementType;
  /** The GraphDef. */
  finish(): Message;
}

/** Of TensorFlow 2.9, which tfjs-node-gpu is linked with: newer ones read it as well. */
const GRAPH_VERSION = 1087;

export function createTensorFlowBuilder(precision: Precision = "float32"): TensorFlowBuilder {
  const graph = createMessage();
  const types = new Map<string, ElementType>();
  const shared = new Map<string, string>(); // small constants by content
  let count = 0;

  function constant(dtype: Value["dtype"], shape: readonly number[], content: Uint8Array): string {
    const tensor = createMessage()
      .int(1, elementTypes[dtype])
      .message(2, shapeProto(shape))
      .bytes(4, content);
    const name = `Const_${count++}`;
    writeNode(name, "Const", [], { dtype: { type: dtype } }, createMessage().message(8, tensor));
    types.set(name, dtype);
    return name;
  }

  function share(key: string, make: () => string): string {
    const found = shared.get(key) ?? make();
    shared.set(key, found);
    return found;
  }

  function writeNode(
    name: string,
    op: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, AttributeValue>>,
    value?: Message,
  ): void {
    const node = createMessage().string(1, name).string(2, op);
    for (const input of inputs) node.string(3, input);
    const entry = (key: string, message: Message) =>
      node.message(5, createMessage().string(1, key).message(2, message));
    for (const [key, given] of Object.entries(attributes)) entry(key, attributeProto(given));
    if (value) entry("value", value);
    graph.message(1, node);
  }

  const builder: TensorFlowBuilder = {
    add: (op, inputs, attributes, options) =>
      builder.addNamed(`${op}_${count++}`, op, inputs, attributes, options),
    addNamed(name, op, inputs, attributes = {}, options = {}) {
      const { outputs = 1, typed = true, after = [] } = options;
      const first = inputs[0] === undefined ? undefined : builder.typeOf(inputs[0]);
      const dtype = options.dtype ?? first ?? "float32";
      const all = typed && first ? { T: { type: first }, ...attributes } : attributes;
      writeNode(name, op, [...inputs, ...after.map((node) => `^${node.split(":")[0]}`)], all);
      const made = typeof outputs === "number" ? Array(outputs).fill(dtype) : outputs;
      for (const [i, type] of made.entries()) types.set(i === 0 ? name : `${name}:${i}`, type);
      return name;
    },
    product(op, inputs, attributes) {
      const narrow = precision === "bfloat16";
      const given = inputs.map((x) =>
        narrow && builder.typeOf(x) === "float32"
          ? share(`narrow ${x}`, () => builder.cast(x, "bfloat16"))
          : x,
      );
      // Of the factors: convolutions take sizes as well.
      const dtype = given.map(builder.typeOf).find((type) => type !== "int32") ?? "int32";
      const made = builder.add(op, given, { ...attributes, T: { type: dtype } }, { dtype });
      return builder.cast(made, dtype === "bfloat16" ? "float32" : dtype);
    },
    cast(x, dtype) {
      const from = builder.typeOf(x);
      const types = { SrcT: { type: from }, DstT: { type: dtype } } as const;
      return from === dtype ? x : builder.add("Cast", [x], types, { typed: false, dtype });
    },
    ints(values) {
      for (const value of values) {
        if (value <= 0x7fffffff) continue;
        throw new AlignTokError(
          "unsupported",
          `dimension ${value}: expected at most 2^31 - 1 elements along an axis on tensorflow. split the array`,
        );
      }
      const content = bytesOf(Int32Array.from(values));
      return share(`ints ${values}`, () => constant("int32", [values.length], content));
    },
    scalar(value, dtype = "float32") {
      const content = bytesOf(arrayOf([value], dtype));
      return share(`scalar ${dtype} ${Object.is(value, -0) ? "-0" : value}`, () =>
        constant(dtype, [], content),
      );
    },
    constant: (data, { shape, dtype }) => constant(dtype, shape, bytesOf(data)),
    typeOf: (name) => types.get(name)!,
    finish: () => graph.message(4, createMessage().int(1, GRAPH_VERSION)),
  };
  return builder;
}

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView<ArrayBufferLike>) =>
  new Uint8Array(buffer, byteOffset, byteLength);

function arrayOf(values: readonly number[], dtype: Value["dtype"]) {
  if (dtype === "float32") return Float32Array.from(values);
  return dtype === "int32" ? Int32Array.from(values) : Uint8Array.from(values);
}

function shapeProto(shape: readonly number[]): Message {
  const message = createMessage();
  for (const n of shape) message.message(2, createMessage().int(1, n));
  return message;
}

/** An AttrValue of attr_value.proto. */
function attributeProto(value: AttributeValue): Message {
  const message = createMessage();
  if (typeof value === "number") return message.int(3, value);
  if (typeof value === "boolean") return message.int(5, value ? 1 : 0);
  if (typeof value === "string") return message.string(2, value);
  if ("float" in value) return message.float(4, value.float);
  if ("type" in value) return message.int(6, elementTypes[value.type]);
  if ("shape" in value) return message.message(7, shapeProto(value.shape));
  return message.message(1, createMessage().ints(3, value));
}
