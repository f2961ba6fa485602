/**
 * Files that `torch.save` writes, whose tensors can be mapped since their bytes lie there as in memory.
 *
 * Since PyTorch 1.6: a zip with a pickle, `NAME/data.pkl`, and the bytes of each storage, `NAME/data/KEY`, stored
 * without compression. Before: five pickles (magic number, version, machine, object, keys of the storages), then for
 * each storage its number of elements (int64) and its bytes. Format: pytorch, `torch/serialization.py`.
 */
import { readSync } from "node:fs";
import { open, realpath } from "node:fs/promises";
import { AlignTokError, bytesPerElement, type DType, type NdArray } from "@aligntok/core";
import { fileError } from "./file-error.ts";
import { type PickleValue, unpickle } from "./pickle.ts";
import { damaged, findGlobal, flatten, parseStorageId, type Storage } from "./pytorch-objects.ts";
import { listZipMembers, locateZipMember, readZipMemberSync, type ZipMember } from "./zip.ts";

/** The pickles of a file from before 1.6 must end within so many bytes; those of large models have a few hundred KB. */
const longestPickles = 2 ** 26;

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

/**
 * The tensors and scalars of a PyTorch file by their dotted paths: `model.blocks.0.norm1.weight`.
 *
 * @throws AlignTokError `bad-format` for a damaged file; `unsupported` for classes other than containers and
 * tensors, which are never executed, and for dtypes that are not read here; `io`
 */
export async function mapPyTorch(path: string): Promise<{
  readonly tensors: Record<string, NdArray>;
  readonly metadata: Record<string, string>;
}> {
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
    const from: OpenFile = { path: resolved, size, modified, read };
    const isZip = Buffer.from(read(0, Math.min(2, size))).toString("latin1") === "PK";
    const tree = isZip ? await readZip(from) : readLegacy(from);
    const [tensors, metadata]: [Record<string, NdArray>, Record<string, string>] = [{}, {}];
    flatten(tree, "", tensors, metadata, new Set());
    return { tensors, metadata };
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

async function readZip(file: OpenFile): Promise<PickleValue> {
  const { path } = file;
  const members = new Map((await listZipMembers(path)).map((member) => [member.name, member]));
  const pickle = [...members.values()].find(isPyTorchMember);
  if (!pickle) {
    throw new AlignTokError(
      "unsupported",
      `pytorch ${path}: expected a zip with NAME/data.pkl, got ${members.size} other members. save the weights with torch.save(model.state_dict(), path)`,
    );
  }
  const folder = pickle.name.slice(0, -"data.pkl".length);
  const storageOf = keepStorages(file, (key) => {
    const member = members.get(`${folder}data/${key}`);
    return member && { offset: locateZipMember(member).offset, size: member.size };
  });
  return unpickle(readZipMemberSync(pickle), namesOf(path, storageOf), path).value;
}

function readLegacy(file: OpenFile): PickleValue {
  const { path, size, read } = file;
  const bytes = read(0, Math.min(size, longestPickles));
  const places = new Map<string, { offset: number; size: number }>();
  const dtypes = new Map<string, DType>();
  let end = 0;
  function next(storageOf: (key: string, dtype: DType) => PickleValue): PickleValue {
    const pickle = unpickle(bytes.subarray(end), namesOf(path, storageOf), path);
    end += pickle.end;
    return pickle.value;
  }
  const none = () => {
    throw damaged(path, "expected no storage before the object");
  };
  for (let i = 0; i < 3; i++) next(none); // magic number, version, machine
  const start = end;
  // where the storages lie stands behind the object: the first pass learns their dtypes, the second makes tensors
  const object = unpickle(
    bytes.subarray(start),
    {
      find(module, name) {
        const found = findGlobal(path, module, name);
        return /rebuild/.test(name) ? () => null : found;
      },
      load(id) {
        const { key, dtype } = parseStorageId(path, id);
        dtypes.set(key, dtype);
        return null;
      },
    },
    path,
  );
  end = start + object.end;
  const keys = next(none);
  if (!Array.isArray(keys)) throw damaged(path, "expected a list of storages");
  let offset = end;
  for (const key of keys.map(String)) {
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
    places.set(key, { offset: offset + 8, size: length });
    offset += 8 + length;
  }
  end = start;
  return next(keepStorages(file, (key) => places.get(key)));
}

function namesOf(path: string, storageOf: (key: string, dtype: DType) => PickleValue) {
  return {
    find: (module: string, name: string) => findGlobal(path, module, name),
    load(id: PickleValue): PickleValue {
      const { key, dtype } = parseStorageId(path, id);
      return storageOf(key, dtype);
    },
  };
}

/** Storages by key: one object each, so that what is tied in the file is tied here. */
function keepStorages(
  { path, modified }: OpenFile,
  place: (key: string) => { readonly offset: number; readonly size: number } | undefined,
): (key: string, dtype: DType) => Storage {
  const known = new Map<string, Storage>();
  return (key, dtype) => {
    const found = place(key);
    if (!found) throw damaged(path, `expected storage ${key.slice(0, 40)} in the file, got none`);
    const name = `${key} ${dtype}`;
    const storage = known.get(name) ?? {
      dtype,
      length: Math.floor(found.size / bytesPerElement(dtype)),
      source: { path, offset: found.offset, modified },
      arrays: new Map<string, NdArray>(),
    };
    known.set(name, storage);
    return storage;
  };
}
