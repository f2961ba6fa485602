/** Images in NumPy's `.npz` files: ADM's reference batches, and the samples of ADM, DiT and SiT. */
import {
  listZipMembers,
  locateZipMember,
  type NpyHeader,
  parseNpy,
  readNpyHeader,
  readZipMember,
  streamZipMember,
  type ZipMember,
} from "@aligntok/checkpoint";
import { AlignTokError, listSome, type NdArray, sizeOf } from "@aligntok/core";
import { openFile, readError } from "./byte-source.ts";
import { collectLabels, type ImageDataset, itemAt, iterable } from "./dataset.ts";

/** Bytes of unpacked images that are held for readers who are somewhat behind, and how many at least. */
const heldBytes = 64 * 2 ** 20;
const leastHeld = 16;

interface ImageArray {
  readonly member: ZipMember;
  readonly header: NpyHeader;
  /** Of one image: (H, W, C). */
  readonly shape: readonly [number, number, 1 | 3];
  readonly count: number;
  readonly labels?: NdArray;
}

/** The bytes of an image as a PPM or PGM file: a few bytes, then the pixels as they are. */
type ReadImage = (index: number) => Promise<Uint8Array>;

/**
 * The images of `.npz` files, stored or compressed: the array `arr_0`, or the only one of that kind, uint8
 * (N, H, W, 3), or (N, H, W, 1) and (N, H, W) for gray. Whole numbers in `arr_1` are their labels. Keys are numbers,
 * records PPM files. Arrays are read image by image and never held as a whole.
 *
 * Compressed arrays can only be unpacked front to back: reading them in another order than their own, a shuffled one
 * for example, starts over for every step back. Write such files with `numpy.savez`.
 *
 * @throws AlignTokError `bad-format` for a damaged file, `bad-input` for one without images or with labels of another
 * number, `not-found`, `io`; reading throws `bad-format` for damaged images
 */
export async function openNpz(paths: readonly string[]): Promise<ImageDataset> {
  const arrays = await Promise.all(paths.map(findImages));
  const places = arrays.flatMap((array) => {
    const read = array.member.method === 0 ? positionalReader(array) : forwardReader(array);
    return Array.from({ length: array.count }, (_, index) => ({ array, read, index }));
  });
  if (places.length === 0) {
    throw new AlignTokError("bad-input", `${listSome(paths)}: expected images, got none`);
  }
  const digits = String(places.length - 1).length;
  const keys = places.map((_, i) => String(i).padStart(digits, "0"));
  const labels = collectLabels(
    places.map(({ array, index }) => array.labels && Number(array.labels.data[index])),
    (i) => `${places[i]!.array.member.archive}: label ${places[i]!.index}`,
  );
  return iterable({
    length: places.length,
    keys,
    ...(labels && { labels }),
    hasCaptions: false,
    async read(i) {
      const { array, read, index } = itemAt(places, i);
      const { archive, name } = array.member;
      const bytes = await read(index);
      return {
        key: keys[i]!,
        name: `${archive}: ${name}: image ${index}`,
        bytes,
        ...(labels && { label: labels[i]! }),
      };
    },
  });
}

async function findImages(path: string): Promise<ImageArray> {
  const members = await listZipMembers(path);
  const named = (name: string) => members.filter((member) => member.name === name);
  const candidates = named("arr_0.npy").length > 0 ? named("arr_0.npy") : members;
  const found: ImageArray[] = [];
  for (const member of candidates.filter(({ name }) => name.endsWith(".npy"))) {
    const header = await readNpyHeader(member);
    const shape = imageShape(header);
    if (shape) found.push({ member, header, shape, count: header.shape[0]! });
  }
  const [images] = found;
  if (!images || found.length > 1) {
    const got = found.length > 1 ? found : members;
    const names = got.map((item) => ("member" in item ? item.member : item).name);
    throw new AlignTokError(
      "bad-input",
      `${path}: expected one array of images, uint8 (N, H, W, 3) in C order, got ${listSome(names) || "none"}. call it arr_0`,
    );
  }
  const [labels] = named("arr_1.npy");
  return labels ? { ...images, labels: await readLabels(labels, images.count) } : images;
}

function imageShape({ dtype, shape, isFortran }: NpyHeader): ImageArray["shape"] | undefined {
  const [, height = 0, width = 0, channels = 1] = shape;
  const isImages = shape.length === 4 || shape.length === 3;
  if (!isImages || dtype !== "uint8" || isFortran || height * width === 0) return undefined;
  return channels === 1 || channels === 3 ? [height, width, channels] : undefined;
}

async function readLabels(member: ZipMember, count: number): Promise<NdArray> {
  const labels = parseNpy(await readZipMember(member));
  const { dtype, shape } = labels;
  if (/^u?int/.test(dtype) && shape.length === 1 && shape[0] === count) return labels;
  throw new AlignTokError(
    "bad-input",
    `${member.archive}: expected ${count} whole numbers in arr_1, the labels of arr_0, got ${dtype} [${shape}]. leave it out or give it another name`,
  );
}

/** Memory for one image, begun with the header of its file. */
function blankImage([height, width, channels]: ImageArray["shape"]) {
  const head = Buffer.from(`P${channels === 3 ? 6 : 5}\n${width} ${height}\n255\n`);
  const bytes = new Uint8Array(head.length + height * width * channels);
  bytes.set(head);
  return { bytes, pixels: bytes.subarray(head.length) };
}

/** Of an array that lies in the file as it is. */
function positionalReader({ member, header, shape }: ImageArray): ReadImage {
  const { path, offset } = locateZipMember(member);
  return async (index) => {
    const { bytes, pixels } = blankImage(shape);
    const start = offset + header.dataStart + index * pixels.length;
    const file = await openFile(path);
    try {
      const { bytesRead } = await file.read(pixels, 0, pixels.length, start);
      if (bytesRead < pixels.length) throw cut(member, index);
      return bytes;
    } catch (error) {
      throw readError(path, error);
    } finally {
      await file.close();
    }
  };
}

/** Of a compressed array, which is unpacked front to back; the images last seen are held. */
function forwardReader({ member, header, shape, count }: ImageArray): ReadImage {
  const most = Math.max(leastHeld, Math.floor(heldBytes / sizeOf(shape)));
  const held = new Map<number, Uint8Array>(); // oldest first
  let chunks: AsyncGenerator<Uint8Array, void> | undefined;
  let rest: Uint8Array = new Uint8Array(0);
  let next = 0;
  let turn: Promise<unknown> = Promise.resolve();

  /** Fills `target` with what comes next. */
  async function take(target: Uint8Array): Promise<void> {
    for (let done = 0; done < target.length; ) {
      if (rest.length === 0) {
        const { value } = await chunks!.next();
        if (!value) throw cut(member, next);
        rest = value;
      }
      const part = rest.subarray(0, target.length - done);
      target.set(part, done);
      done += part.length;
      rest = rest.subarray(part.length);
    }
  }

  async function startOver(): Promise<void> {
    await chunks?.return();
    chunks = streamZipMember(member);
    rest = new Uint8Array(0);
    next = 0;
    await take(new Uint8Array(header.dataStart));
  }

  async function find(index: number): Promise<Uint8Array> {
    const known = held.get(index);
    if (known) return known;
    try {
      if (!chunks || index < next) await startOver();
      for (; next <= index; next++) {
        const { bytes, pixels } = blankImage(shape);
        await take(pixels);
        if (next === count - 1) await chunks!.next(); // the checksum is known at the end
        held.delete(next);
        held.set(next, bytes);
        if (held.size > most) held.delete(held.keys().next().value!);
      }
    } catch (error) {
      chunks = undefined;
      throw error;
    }
    return held.get(index)!;
  }

  return (index) => {
    const found = turn.then(() => find(index));
    turn = found.catch(() => {});
    return found;
  };
}

function cut(member: ZipMember, index: number): AlignTokError {
  return new AlignTokError(
    "bad-format",
    `${member.archive}: ${member.name}: expected image ${index} as a whole, got fewer bytes. the file is cut short; fetch it again`,
  );
}
