/** What the pickles of PyTorch name: storages, tensors and containers. Format: pytorch, `torch/_utils.py`. */
import {
  AlignTokError,
  bytesPerElement,
  type DType,
  type FileRange,
  type NdArray,
  sizeOf,
  zeros,
} from "@aligntok/core";
import { lazyArray, mappedArray, readData } from "./lazy-array.ts";
import type { PickledObject, PickleFunction, PickleValue } from "./pickle.ts";

/** Elements of a tensor that repeats those of a smaller storage. */
const mostRepeated = 2 ** 24;

const storageDTypes: Readonly<Record<string, DType>> = {
  DoubleStorage: "float64",
  FloatStorage: "float32",
  HalfStorage: "float16",
  BFloat16Storage: "bfloat16",
  LongStorage: "int64",
  IntStorage: "int32",
  ShortStorage: "int16",
  CharStorage: "int8",
  ByteStorage: "uint8",
  BoolStorage: "bool",
};

/** Elements of one dtype in the file. */
export interface Storage {
  readonly dtype: DType;
  readonly length: number;
  readonly source: FileRange;
  /** By offset, shape and strides, so that tied weights are one array. */
  readonly arrays: Map<string, NdArray>;
}

/** What a persistent id says of a storage. */
export interface StorageId {
  readonly key: string;
  readonly dtype: DType;
}

/** @throws AlignTokError `bad-format` for an id that is none */
export function parseStorageId(path: string, id: PickleValue): StorageId {
  const [kind, type, key] = Array.isArray(id) ? id : [];
  const dtype = (type as { dtype?: DType } | undefined)?.dtype;
  if (kind === "storage" && dtype) return { key: String(key), dtype };
  throw damaged(path, "expected the id of a storage");
}

/** The few names that files of weights need; what they do to data is done here, not in Python. */
export function findGlobal(path: string, module: string, name: string): PickleFunction {
  const full = `${module}.${name}`;
  const dtype = module === "torch" ? storageDTypes[name] : undefined;
  if (dtype) {
    // the name itself is used, as the type of a storage
    const call = (): never => {
      throw damaged(path, `expected a tensor, got a call of ${full}`);
    };
    return Object.assign(call, { dtype });
  }
  switch (full) {
    case "collections.OrderedDict":
      return ([items]) => {
        const pairs = Array.isArray(items) ? items : []; // Python 2 gives the items here
        const valid = pairs.every((pair) => Array.isArray(pair) && pair.length === 2);
        if (!valid) throw damaged(path, "expected pairs of key and value");
        return new Map(pairs as [PickleValue, PickleValue][]);
      };
    case "torch._utils._rebuild_tensor":
    case "torch._utils._rebuild_tensor_v2":
      return (args) => rebuildTensor(path, args);
    case "torch._utils._rebuild_parameter":
      return ([tensor]) => tensor ?? null;
    case "torch.Size":
      return ([sizes]) => sizes ?? [];
    case "torch.device":
      return ([device]) => device ?? null;
    case "builtins.set":
    case "__builtin__.set":
      return ([items]) => new Set(Array.isArray(items) ? items : []);
    case "argparse.Namespace":
      return () => ({}) satisfies PickledObject;
  }
  throw new AlignTokError(
    "unsupported",
    `pytorch ${path}: expected tensors and plain containers, got ${full.slice(0, 80)}, which is not executed here. save the weights alone: torch.save(model.state_dict(), path)`,
  );
}

function rebuildTensor(path: string, args: readonly PickleValue[]): NdArray {
  const [storage, offset, shape, strides] = args as [Storage, number, number[], number[]];
  const isCount = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0;
  const isCounts = (list: unknown): list is number[] => Array.isArray(list) && list.every(isCount);
  if (
    !storage?.source ||
    !isCount(offset) ||
    !isCounts(shape) ||
    !isCounts(strides) ||
    shape.length !== strides.length ||
    shape.length > 32
  ) {
    throw damaged(path, "expected storage, offset, shape and strides of a tensor");
  }
  const count = sizeOf(shape);
  const last = shape.reduce((sum, n, i) => sum + (n - 1) * strides[i]!, offset);
  // a stride of 0 repeats elements: bounded, lest a small file ask for memory without end
  const most = Math.max(storage.length, mostRepeated);
  if (count > 0 && (last >= storage.length || count > most)) {
    throw damaged(
      path,
      `expected a tensor within ${storage.length} elements, got [${shape}] with strides [${strides}] from ${offset}`,
    );
  }
  const key = `${offset} ${shape} ${strides}`;
  const known = storage.arrays.get(key);
  if (known) return known;
  const array = viewStorage(storage, offset, shape, strides);
  storage.arrays.set(key, array);
  return array;
}

function viewStorage(
  { dtype, length, source }: Storage,
  offset: number,
  shape: readonly number[],
  strides: readonly number[],
): NdArray {
  const at = { ...source, offset: source.offset + offset * bytesPerElement(dtype) };
  let dense = 1;
  const isDense = [...shape.keys()].reverse().every((i) => {
    const fits = shape[i] === 1 || strides[i] === dense;
    dense *= shape[i]!;
    return fits;
  });
  if (isDense || sizeOf(shape) === 0) return mappedArray(dtype, shape, at);
  const read = () => {
    const all = readData(mappedArray(dtype, [length], source));
    const { data } = zeros(shape, dtype);
    for (let i = 0; i < data.length; i++) {
      let [rest, from] = [i, offset];
      for (let axis = shape.length - 1; axis >= 0; axis--) {
        from += (rest % shape[axis]!) * strides[axis]!;
        rest = Math.floor(rest / shape[axis]!);
      }
      data[i] = all[from]!;
    }
    return data;
  };
  return lazyArray(dtype, shape, { read });
}

function isArray(value: object): value is NdArray {
  return "dtype" in value && "shape" in value;
}

/** Everything below a value under dotted names; a container that holds itself is entered once. */
export function flatten(
  value: PickleValue,
  name: string,
  tensors: Record<string, NdArray>,
  metadata: Record<string, string>,
  above: ReadonlySet<object>,
): void {
  if (value === null || typeof value === "function") return;
  if (typeof value !== "object") {
    metadata[name || "value"] = String(value);
    return;
  }
  if (isArray(value)) {
    tensors[name || "tensor"] = value;
    return;
  }
  if (above.has(value) || above.size > 64 || value instanceof Uint8Array) return;
  const inside = new Set([...above, value]);
  const state = (value as PickledObject).state;
  if (state !== undefined) {
    flatten(state, name, tensors, metadata, inside);
    return;
  }
  const items = value instanceof Map ? value : Array.isArray(value) ? value.entries() : [];
  for (const [key, item] of items) {
    flatten(item, name ? `${name}.${key}` : String(key), tensors, metadata, inside);
  }
}

export function damaged(path: string, problem: string): AlignTokError {
  return new AlignTokError(
    "bad-format",
    `pytorch ${path}: ${problem}. the file is damaged, incomplete or of another format`,
  );
}
