/** NumPy's `.npz` files: zip archives of `.npy` files, one for each array. */
import { AlignTokError, byteLength, check, listSome, type NdArray } from "@aligntok/core";
import { lazyArray, readRange } from "./lazy-array.ts";
import { decodeNpy, mapElements } from "./npy.ts";
import { formatNpyHeader, longestNpyHeader, type NpyHeader, parseNpyHeader } from "./npy-header.ts";
import { eachArray, type WriteOptions } from "./write-progress.ts";
import {
  listZipMembers,
  locateZipMember,
  readZipMember,
  readZipMemberSync,
  streamZipMember,
  type ZipMember,
} from "./zip.ts";
import { createZipWriter } from "./zip-writer.ts";

const ending = ".npy";

export function isNpyMember({ name }: ZipMember): boolean {
  return name.endsWith(ending);
}

/**
 * The arrays of a `.npz` file by name, stored or compressed, one after the other: each owns its memory and was checked
 * against its checksum.
 *
 * @throws AlignTokError `bad-format` for a damaged file; `unsupported` as `parseNpy`, and for compressed arrays above
 * 2 GiB; `not-found`, `io`
 */
export async function readNpz(path: string): Promise<Record<string, NdArray>> {
  const arrays: [string, NdArray][] = [];
  for (const member of await listArrays(path)) {
    arrays.push([nameOf(member), decodeNpy(await readZipMember(member), messageName(member))]);
  }
  return Object.fromEntries(arrays);
}

/** `readNpz` of an archive's members without reading the arrays: stored ones are mapped as `mapNpy` does, compressed ones unpacked when looked at. */
export async function mapNpz(members: readonly ZipMember[]): Promise<Record<string, NdArray>> {
  const arrays: [string, NdArray][] = [];
  for (const member of members.filter(isNpyMember)) {
    arrays.push([nameOf(member), await mapMember(member)]);
  }
  return Object.fromEntries(arrays);
}

async function listArrays(path: string): Promise<ZipMember[]> {
  const members = await listZipMembers(path);
  const arrays = members.filter(isNpyMember);
  if (arrays.length > 0 || members.length === 0) return arrays;
  const names = listSome(members.map(({ name }) => name));
  throw new AlignTokError(
    "unsupported",
    `npz ${path}: expected members that end in .npy, got ${names}. it is a zip of another kind`,
  );
}

async function mapMember(member: ZipMember): Promise<NdArray> {
  const header = await readNpyHeader(member);
  const { dtype, shape } = header;
  if (member.method === 0) return mapElements(header, locateZipMember(member));
  return lazyArray(dtype, shape, {
    read: () => decodeNpy(readZipMemberSync(member), messageName(member)).data,
  });
}

/** The header of an array in an archive, of which no more is unpacked than that needs. */
export async function readNpyHeader(member: ZipMember): Promise<NpyHeader> {
  const { size, method } = member;
  const most = Math.min(longestNpyHeader, size);
  const place = locateZipMember(member);
  const head = method === 0 ? readRange(place, most) : await unpackStart(member, most);
  return parseNpyHeader(head, { name: messageName(member), size });
}

async function unpackStart(member: ZipMember, most: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of streamZipMember(member)) {
    parts.push(chunk);
    length += chunk.length;
    if (length >= most) break;
  }
  return Buffer.concat(parts).subarray(0, most);
}

function nameOf({ name }: ZipMember): string {
  return name.slice(0, -ending.length);
}

function messageName({ archive, name }: ZipMember): string {
  return `${archive}: ${name}`;
}

/** A `.npz` file that is written array by array, each in as many parts as one likes. */
export interface NpzWriter {
  /** Ends the array before and begins the next one. */
  begin(name: string, array: Pick<NdArray, "dtype" | "shape">): Promise<void>;
  /** The next elements, row-major. */
  append(data: NdArray["data"]): Promise<void>;
  /** Completes the file, which takes its name only now. */
  finish(): Promise<void>;
  /** Removes what was written, unless it is finished. */
  discard(): Promise<void>;
}

/**
 * Begins a `.npz` file of any size, uncompressed, as `numpy.savez` writes it; nothing of it is held in memory.
 *
 * ```ts
 * import { createNpzWriter } from "@aligntok/checkpoint";
 *
 * const file = await createNpzWriter("samples.npz");
 * await file.begin("arr_0", { dtype: "uint8", shape: [2, 4, 4, 3] });
 * for (let i = 0; i < 2; i++) await file.append(new Uint8Array(4 * 4 * 3));
 * await file.finish();
 * ```
 *
 * @throws AlignTokError `not-found` for an absent folder, `io`; its functions `bad-input` for a name twice and other
 * numbers of elements than the shape has, `unsupported` for bfloat16 and float8, which NumPy does not have
 */
export async function createNpzWriter(path: string): Promise<NpzWriter> {
  const zip = await createZipWriter(path);
  const names = new Set<string>();
  return {
    async begin(name, array) {
      check(!names.has(name), () => `${path}: expected each name once, got ${name} twice`);
      const header = formatNpyHeader(array, { name });
      await zip.begin(name + ending, header.length + byteLength(array));
      await zip.append(header);
      names.add(name);
    },
    append: (data) => zip.append(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
    finish: zip.finish,
    discard: zip.discard,
  };
}

/**
 * Writes arrays as a `.npz` file, uncompressed, which appears whole or not at all. Arrays of `openCheckpoint` are read
 * one at a time and not kept.
 *
 * @throws AlignTokError as `writeNpy`, naming the array; `aborted`
 */
export async function writeNpz(
  path: string,
  arrays: Readonly<Record<string, NdArray>>,
  options: WriteOptions = {},
): Promise<void> {
  const entries = Object.entries(arrays);
  for (const [name, array] of entries) formatNpyHeader(array, { name }); // refuses dtypes before anything is written
  const file = await createNpzWriter(path);
  try {
    for (const [name, array, bytes] of eachArray("npz", entries, options)) {
      await file.begin(name, array);
      await file.append(bytes);
    }
    await file.finish();
  } catch (error) {
    await file.discard();
    throw error;
  }
}
