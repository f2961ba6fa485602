/** Tensors and scalars of a pickled tree by dotted names. */
import { AlignTokError, type NdArray } from "@aligntok/core";
import { type PickledObject, type PickleValue, textOf } from "./pickle.ts";
import { damaged } from "./pytorch-storage.ts";

/** Containers in containers; a module of PyTorch takes three for each of its levels. */
const deepest = 512;
/** Characters of names for each byte of the pickle, lest shared containers multiply. */
const mostNamed = 16;
const leastNamed = 2 ** 20;

export interface NamedTensors {
  readonly tensors: Record<string, NdArray>;
  readonly metadata: Record<string, string>;
}

export interface FlattenOptions {
  /** For messages. */
  readonly path: string;
  /** Of the pickle, in bytes. */
  readonly size: number;
  /** Which fields of a class of TorchScript are in its state dict; undefined for those of other classes. */
  readonly fieldsOf?: (className: string) => ReadonlySet<string> | undefined;
}

/**
 * Everything below a value under dotted names; a container that holds itself is entered once. Modules (as pickled by
 * `torch.save(model)`, and of TorchScript) have the names of their state dict.
 *
 * @throws AlignTokError `unsupported` for objects of other classes and no tensors
 */
export function flattenTree(
  tree: PickleValue,
  { path, size, fieldsOf = () => undefined }: FlattenOptions,
): NamedTensors {
  const tensors = new Map<string, NdArray>();
  const metadata = new Map<string, string>();
  const above = new Set<object>();
  let unknown: string | undefined;
  let budget = mostNamed * size + leastNamed;

  function enter(value: PickleValue, name: string): void {
    budget -= name.length + 1;
    if (budget < 0) throw damaged(path, "expected fewer names than containers in containers give");
    if (value === null) return;
    if (typeof value !== "object") metadata.set(name || "value", String(value));
    else if (isArray(value)) tensors.set(name || "tensor", value);
    else if (!(value instanceof Uint8Array) && !above.has(value)) {
      if (above.size >= deepest) {
        throw damaged(path, `expected at most ${deepest} containers in one another, got more`);
      }
      above.add(value);
      enterContainer(value, name);
      above.delete(value);
    }
  }

  function enterContainer(value: Container, name: string): void {
    if (value instanceof Map) enterItems(value, name);
    else if (Array.isArray(value) || value instanceof Set) enterItems([...value].entries(), name);
    else enterObject(value, name);
  }

  function enterItems(items: Iterable<[PickleValue, PickleValue]>, name: string): void {
    for (const [key, item] of items) enter(item, joined(name, key));
  }

  function enterObject({ className, state, items, args = [] }: PickledObject, name: string): void {
    if (items) enter(items, name);
    if (state !== undefined) {
      const modules = state instanceof Map ? moduleFields(state) : undefined;
      if (modules) for (const [key, item] of modules) enter(item, joined(name, key));
      else enter(withoutOthers(state, fieldsOf(className)), name);
    } else if (!items) {
      unknown ??= className;
      metadata.set(name || "value", className);
      if (args.length > 0) enterItems(args.entries() as Iterable<[number, PickleValue]>, name);
    }
    if (state !== undefined && !className.startsWith("__torch__.")) unknown ??= className;
  }

  enter(tree, "");
  if (tensors.size === 0 && unknown !== undefined) {
    throw new AlignTokError(
      "unsupported",
      `pytorch ${path}: expected tensors and plain containers, got ${unknown.slice(0, 80)}, which is not executed here. save the weights alone: torch.save(model.state_dict(), path)`,
    );
  }
  return { tensors: Object.fromEntries(tensors), metadata: Object.fromEntries(metadata) };
}

type Container = PickleValue[] | Set<PickleValue> | Map<PickleValue, PickleValue> | PickledObject;

function joined(name: string, key: PickleValue): string {
  const text = textOf(key);
  return name ? `${name}.${text}` : text;
}

function isArray(value: object): value is NdArray {
  return "dtype" in value && "shape" in value;
}

/** Parameters, buffers and sub-modules of an `nn.Module`, as its state dict names them. */
function moduleFields(
  state: ReadonlyMap<PickleValue, PickleValue>,
): [PickleValue, PickleValue][] | undefined {
  const parts = ["_parameters", "_buffers", "_modules"].map((key) => state.get(key));
  if (!parts.every((part) => part instanceof Map)) return undefined;
  const passing = state.get("_non_persistent_buffers_set");
  return (parts as Map<PickleValue, PickleValue>[]).flatMap((part) =>
    [...part].filter(([key]) => !(passing instanceof Set && passing.has(key))),
  );
}

/** The state without tensors that are no parameters or buffers. */
function withoutOthers(state: PickleValue, fields: ReadonlySet<string> | undefined): PickleValue {
  if (!fields || !(state instanceof Map)) return state;
  const isOther = (value: PickleValue) =>
    typeof value === "object" && value !== null && isArray(value);
  return new Map([...state].filter(([key, value]) => !isOther(value) || fields.has(String(key))));
}
