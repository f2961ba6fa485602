/**
 * Files that `torch.save` and `torch.jit.save` write, whose tensors can be mapped where their bytes lie there as in
 * memory.
 *
 * Since PyTorch 1.6: a zip with a pickle, `NAME/data.pkl`, and the bytes of each storage, `NAME/data/KEY`, as a rule
 * stored without compression; of TorchScript also `NAME/constants.pkl` and `NAME/code/`. Before: five pickles (magic number, version, machine, object, keys of the storages), then for
 * each storage its number of elements (int64) and its bytes. Format: pytorch, `torch/serialization.py`.
 */
import { readSync } from "node:fs";
import { open, realpath } from "node:fs/promises";
import { AlignTokError, bytesPerElement, type DType } from "@aligntok/core";
import { fileError } from "./file-error.ts";
import { type PickleNames, type PickleValue, textOf, unpickle } from "./pickle.ts";
import { findGlobal, type MakeTensor, parseStorageId } from "./pytorch-names.ts";
import {
  createStorage,
  damaged,
  type Storage,
  type StoragePlace,
  viewStorage,
} from "./pytorch-storage.ts";
import { type FlattenOptions, flattenTree, type NamedTensors } from "./pytorch-tree.ts";
import { createFieldLookup } from "./torchscript.ts";
import { listZipMembers, locateZipMember, readZipMemberSync, type ZipMember } from "./zip.ts";

/** Those of large models have a few hundred KB; those with NumPy's arrays in them more. */
const longestPickle = 2 ** 28;

/** The first bytes of the older files: protocol 2 and the magic number. */
const legacyStart = "80028a0a6cfc9c46f920";

/** Whether a file that starts so is one of PyTorch's. */
export function startsPyTorch(head: Uint8Array): boolean {
  const hex = Buffer.from(head.subarray(0, 10)).toString("hex");
  return hex.startsWith("504b0304") || hex === legacyStart;
}

interface OpenFile {
  readonly path: string;
  readonly size: number;
  readonly modified: number;
  read(offset: number, length: number): Uint8Array;
}

/** A tree and what its names depend on. */
interface Unpickled {
  readonly tree: PickleValue;
  /** Of the pickle, in bytes. */
  readonly size: number;
  /** Of an archive of TorchScript. */
  readonly script?: Required<Pick<FlattenOptions, "fieldsOf">> & { readConstants(): PickleValue };
}

/**
 * Everything that a PyTorch file holds, as a tree: dictionaries are Maps, lists and tuples arrays, tensors and NumPy's
 * arrays NdArrays (read when looked at, see `mapSafetensors`), scalars themselves, None null. Objects of other classes
 * are `{ className, args?, state?, items? }`: nothing is executed.
 *
 * ```ts
 * import { readPyTorch } from "@aligntok/checkpoint";
 *
 * const checkpoint = await readPyTorch("last.ckpt");
 * if (checkpoint instanceof Map) console.log(checkpoint.get("epoch"), checkpoint.get("hyper_parameters"));
 * ```
 *
 * @throws AlignTokError `bad-format` for a damaged file; `unsupported` for complex, quantised and sparse tensors;
 * `not-found`, `io`
 */
export async function readPyTorch(path: string): Promise<PickleValue> {
  return (await openTree(path)).tree;
}

/**
 * The tensors and scalars of a PyTorch file by their dotted paths: `model.blocks.0.norm1.weight`.
 *
 * @param members of the file where it is a zip, if they are known
 * @throws AlignTokError as `readPyTorch`, and `unsupported` for a file of other objects and no tensors
 */
export async function mapPyTorch(
  path: string,
  members?: readonly ZipMember[],
): Promise<NamedTensors> {
  const { tree, size, script } = members ? readZip(path, members) : await openTree(path);
  const named = flattenTree(tree, { path, size, ...script });
  if (!script || Object.keys(named.tensors).length > 0) return named;
  // a frozen module has its weights as plain fields, and as constants without names
  const all = new Map([
    ["", tree],
    ["constants", script.readConstants()],
  ]);
  return flattenTree(all, { path, size });
}

async function openTree(path: string): Promise<Unpickled> {
  const fail = (error: unknown) => {
    throw fileError("read", path, error);
  };
  const resolved = await realpath(path).catch(fail);
  const file = await open(resolved, "r").catch(fail);
  try {
    const { size, mtimeMs: modified } = await file.stat();
    function read(offset: number, length: number): Uint8Array {
      if (offset + length > size)
        throw damaged(path, `expected ${offset + length} bytes, got ${size}`);
      const bytes = new Uint8Array(length);
      readSync(file.fd, bytes, 0, length, offset);
      return bytes;
    }
    const isZip = Buffer.from(read(0, Math.min(2, size))).toString("latin1") === "PK";
    return isZip
      ? readZip(path, await listZipMembers(path))
      : readLegacy({ path: resolved, size, modified, read });
  } catch (error) {
    return fail(error);
  } finally {
    await file.close();
  }
}

/** The pickle that a zip of PyTorch has. */
export function isPyTorchMember({ name }: ZipMember): boolean {
  return /^[^/]+\/data\.pkl$/.test(name);
}

function readZip(path: string, listed: readonly ZipMember[]): Unpickled {
  const members = new Map(listed.map((member) => [member.name, member]));
  const pickle = [...members.values()].find(isPyTorchMember);
  if (!pickle) {
    throw new AlignTokError(
      "unsupported",
      `pytorch ${path}: expected a zip with NAME/data.pkl, got ${members.size} other members. save the weights with torch.save(model.state_dict(), path)`,
    );
  }
  const folder = pickle.name.slice(0, -"data.pkl".length);
  const order = members.get(`${folder}byteorder`);
  const isBigEndian = order?.size === 3 && `${Buffer.from(readZipMemberSync(order))}` === "big";
  function read(pickle: ZipMember, storages: string): PickleValue {
    const names = namesOf(path, (key) => {
      const member = members.get(`${folder}${storages}/${key}`);
      const from = member && (member.method === 0 ? locateZipMember(member) : member);
      return from && { from, size: member.size, isBigEndian };
    });
    if (pickle.size > longestPickle) {
      throw damaged(
        path,
        `expected at most ${longestPickle} bytes of a pickle, got ${pickle.size}`,
      );
    }
    return unpickle(readZipMemberSync(pickle), names, path).value;
  }
  const constants = members.get(`${folder}constants.pkl`);
  const script = constants && {
    fieldsOf: createFieldLookup(folder, members),
    readConstants: () => read(constants, "constants"),
  };
  return { tree: read(pickle, "data"), size: pickle.size, ...(script && { script }) };
}

function readLegacy({ path, size, modified, read }: OpenFile): Unpickled {
  const bytes = read(0, Math.min(size, longestPickle));
  const places = new Map<string, StoragePlace>();
  const dtypes = new Map<string, DType>();
  let end = 0;
  function next(names: PickleNames): PickleValue {
    const pickle = unpickle(bytes.subarray(end), names, path);
    end += pickle.end;
    return pickle.value;
  }
  const none = namesOf(path, () => undefined);
  next(none); // magic number
  next(none); // version
  const machine = next(none);
  const isBigEndian = machine instanceof Map && machine.get("little_endian") === false;
  const start = end;
  // where the storages lie stands behind the object: the first pass learns their dtypes, the second makes tensors
  next({
    find: (module, name) => findGlobal(path, { module, name, tensor: () => null }),
    load(id) {
      const { key, dtype } = parseStorageId(path, id);
      dtypes.set(key, dtype);
      return { className: "torch.Storage", dtype };
    },
  });
  const objectSize = end - start;
  const keys = next(none);
  if (!Array.isArray(keys)) throw damaged(path, "expected a list of storages");
  let offset = end;
  for (const key of keys.map(textOf)) {
    const count = Buffer.from(read(offset, 8)).readBigInt64LE();
    const dtype = dtypes.get(key);
    if (!dtype || count < 0n || count > BigInt(size)) {
      throw damaged(
        path,
        `expected storage ${key.slice(0, 40)} of the object, got ${count} elements`,
      );
    }
    const length = Number(count) * bytesPerElement(dtype);
    if (offset + 8 + length > size) {
      throw damaged(path, `expected ${offset + 8 + length} bytes, got ${size}`);
    }
    const from = { path, offset: offset + 8, modified };
    places.set(key, { from, size: length, isBigEndian });
    offset += 8 + length;
  }
  end = start;
  return { tree: next(namesOf(path, (key) => places.get(key))), size: objectSize };
}

/** Storages by key: one object each, so that what is tied in the file is tied here. */
function namesOf(path: string, placeOf: (key: string) => StoragePlace | undefined): PickleNames {
  const known = new Map<string, Storage>();
  const tensor: MakeTensor = (storage, view) => viewStorage(path, storage, view);
  return {
    find: (module, name) => findGlobal(path, { module, name, tensor }),
    load(id) {
      const { key, dtype } = parseStorageId(path, id);
      const name = `${key} ${dtype}`;
      const place = known.has(name) ? undefined : placeOf(key);
      const storage = known.get(name) ?? (place && createStorage(dtype, place));
      if (!storage)
        throw damaged(path, `expected storage ${key.slice(0, 40)} in the file, got none`);
      known.set(name, storage);
      return storage;
    },
  };
}
