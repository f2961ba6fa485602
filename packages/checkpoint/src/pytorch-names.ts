/** What the pickles of PyTorch name: storages, tensors and containers. Format: pytorch, `torch/_utils.py`. */
import { AlignTokError, type DType } from "@aligntok/core";
import { findNumpy } from "./numpy-objects.ts";
import { type PickleName, type PickleValue, textOf } from "./pickle.ts";
import { damaged, type Storage, type View } from "./pytorch-storage.ts";

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
  UntypedStorage: "uint8",
};

/** Of tensors that `_rebuild_tensor_v3` makes of bytes. */
const dtypeNames: ReadonlySet<string> = new Set<DType>([
  ...["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8"],
  ...["uint64", "uint32", "uint16", "uint8", "bool", "float8_e4m3fn", "float8_e5m2"],
  ...["float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"],
] as DType[]);

/** What a persistent id says of a storage. */
export interface StorageId {
  readonly key: string;
  readonly dtype: DType;
}

/** @throws AlignTokError `bad-format` for an id that is none */
export function parseStorageId(path: string, id: PickleValue): StorageId {
  const [kind, type, key, , , view = null] = Array.isArray(id) ? id : [];
  const dtype = (type as { dtype?: DType } | undefined)?.dtype;
  if (kind === "storage" && dtype && view === null) return { key: textOf(key), dtype };
  throw damaged(path, "expected the id of a storage");
}

/** Makes tensors of storages; the first pass over an older file makes none. */
export type MakeTensor = (storage: Storage, view: View) => PickleValue;

/**
 * What a name stands for. What carries data is made here, not in Python; other names stay names.
 *
 * @throws AlignTokError `unsupported` for tensors of other kinds: complex, quantised, sparse
 */
export function findGlobal(
  path: string,
  { module, name, tensor }: { module: string; name: string; tensor: MakeTensor },
): PickleName {
  const className = `${module}.${name}`;
  const isTorch = module === "torch" || module === "torch.storage" || module === "torch.cuda";
  const dtype = isTorch ? (storageDTypes[name] ?? dtypeOf(name)) : undefined;
  if (dtype) return Object.assign({ className }, { dtype });
  if ((isTorch && /^(Complex|Q).*Storage$/.test(name)) || className === "torch.TypedStorage") {
    throw refusal(path, className);
  }
  const call = findContainer(path, className) ?? findNumpy(module, name);
  if (call) return hidden(className, call);
  if (module === "torch._utils" || className === "torch._tensor._rebuild_from_type_v2") {
    return hidden(className, findRebuild(path, { name, className, tensor }));
  }
  return { className };
}

function dtypeOf(name: string): DType | undefined {
  return dtypeNames.has(name) ? (name as DType) : undefined;
}

/** The function is no part of the data that a name is where it is not called. */
function hidden(className: string, call: NonNullable<PickleName["call"]>): PickleName {
  return Object.defineProperty({ className }, "call", { value: call });
}

function findContainer(path: string, className: string): PickleName["call"] {
  const first = ([value]: readonly PickleValue[]) => value ?? null;
  switch (className) {
    case "collections.OrderedDict":
    case "collections.Counter":
    case "builtins.dict":
      return ([items]) => dictionaryOf(path, items);
    case "collections.defaultdict":
      return ([, items]) => dictionaryOf(path, items);
    case "torch.Size":
      return ([sizes]) => sizes ?? [];
    case "torch.device":
      return (args) => args.map(textOf).join(":");
    case "torch.nn.parameter.Parameter":
    case "torch.serialization._get_layout":
    case "torch.jit._pickle.build_intlist":
    case "torch.jit._pickle.build_tensorlist":
    case "torch.jit._pickle.build_doublelist":
    case "torch.jit._pickle.build_boollist":
    case "torch.jit._pickle.build_tensor_from_id":
    case "torch.jit._pickle.restore_type_tag":
      return first;
    case "builtins.set":
    case "__builtin__.set":
    case "builtins.frozenset":
    case "__builtin__.frozenset":
      return ([items]) => new Set(Array.isArray(items) ? items : []);
    case "_codecs.encode":
    case "builtins.bytearray":
    case "__builtin__.bytearray":
      return ([text]) => (typeof text === "string" ? latin1(text) : (text ?? new Uint8Array(0)));
  }
  return undefined;
}

/** Python's bytes, which protocol 2 has as text. */
function latin1(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, "latin1"));
}

function dictionaryOf(path: string, items: PickleValue | undefined) {
  if (items instanceof Map) return items;
  const pairs = Array.isArray(items) ? items : []; // Python 2 gives the items here
  const valid = pairs.every((pair) => Array.isArray(pair) && pair.length === 2);
  if (!valid) throw damaged(path, "expected pairs of key and value");
  return new Map(pairs as [PickleValue, PickleValue][]);
}

function findRebuild(
  path: string,
  of: { readonly name: string; readonly className: string; readonly tensor: MakeTensor },
): NonNullable<PickleName["call"]> {
  const { name, className, tensor } = of;
  switch (name) {
    case "_rebuild_parameter":
    case "_rebuild_parameter_with_state":
    case "_rebuild_device_tensor_from_numpy":
    case "_rebuild_device_tensor_from_cpu_tensor":
    case "_rebuild_xla_tensor":
      return ([data]) => data ?? null;
    case "_rebuild_from_type_v2":
      return ([rebuild, , args]) => {
        const { call } = (rebuild ?? {}) as PickleName;
        if (!call || !Array.isArray(args)) throw damaged(path, "expected how to make a tensor");
        return call(args);
      };
    case "_rebuild_tensor":
    case "_rebuild_tensor_v2":
    case "_rebuild_tensor_v3":
      return (args) => {
        const isTyped = name !== "_rebuild_tensor_v3";
        const [storage, offset, shape, strides, , , sixth, seventh] = args;
        const notes = isTyped ? sixth : seventh;
        if (notes instanceof Map && [...notes.values()].includes(true)) {
          throw refusal(path, "a negated or conjugated view");
        }
        const { dtype, className: type = "none" } = ((isTyped ? storage : sixth) ??
          {}) as Partial<Storage>;
        if (!dtype) throw refusal(path, `a tensor of ${textOf(type)}`);
        return tensor(storage as Storage, { dtype, offset, shape, strides } as View);
      };
  }
  return () => {
    throw refusal(path, className);
  };
}

function refusal(path: string, got: string): AlignTokError {
  return new AlignTokError(
    "unsupported",
    `pytorch ${path}: expected dense tensors of real numbers, got ${got.slice(0, 80)}. convert it in Python and save the weights alone: torch.save(model.state_dict(), path)`,
  );
}
